"""asyncio: results, back-pressure, cancelled tasks, loops that end, engines that close."""
import asyncio
import gc
import threading

import numpy as np
import pytest

import warpkem
from conftest import random_bytes

P = "ML-KEM-768"


def test_results_are_those_of_the_blocking_calls(engine, name):
    a = warpkem.algorithm(name)

    async def main():
        pairs = await engine.keygen_async(name, 20)
        sent = await engine.encaps_async(name, pairs.ek)
        received = await engine.decaps_async(name, pairs.dk, sent.c)
        assert (received.K == sent.K).all() and sent.K.any() and sent.ok
        if a.m_bytes:
            m = random_bytes(1, 20, a.m_bytes)
            mine, its = await engine.encaps_derand_async(name, pairs.ek, m), engine.encaps_derand(name, pairs.ek, m)
            assert (mine.c == its.c).all() and (mine.K == its.K).all()

    try:
        engine.keygen(name, 1)
    except warpkem.UnsupportedError as error:
        pytest.skip(str(error))
    asyncio.run(main())


def test_thousands_of_requests_make_no_thread_each_and_bad_items_fail_alone(engine):
    pairs = engine.keygen(P, 1)
    bad = np.full((1, 1184), 255, np.uint8)

    async def main():
        before = threading.active_count()
        calls = [engine.encaps_async(P, bad if i % 50 == 7 else pairs.ek) for i in range(2000)]
        results = await asyncio.gather(*calls)
        assert threading.active_count() == before
        for i, result in enumerate(results):
            assert result.status[0] == (3 if i % 50 == 7 else 0)
        single = await engine.encaps_async(P, pairs.ek.tobytes())
        assert engine.decaps(P, pairs.dk.tobytes(), single.c).K == single.K

    asyncio.run(main())


def test_a_full_engine_makes_tasks_wait_and_loses_none():
    with warpkem.Engine(max_items=8) as engine:
        pairs = engine.keygen(P, 1)

        async def main():
            results = await asyncio.gather(*(engine.encaps_async(P, pairs.ek) for _ in range(300)))
            assert all(result.ok and result.K.any() for result in results)

        asyncio.run(main())


def test_a_cancelled_task_leaves_the_others_alone(engine):
    ek = engine.keygen(P, 2000).ek

    async def main():
        large = [asyncio.create_task(engine.encaps_async(P, ek, bulk=True)) for _ in range(4)]
        await asyncio.sleep(0)
        large[2].cancel()
        done = await asyncio.gather(*large, return_exceptions=True)
        assert isinstance(done[2], asyncio.CancelledError)
        assert all(one.ok for i, one in enumerate(done) if i != 2)

    asyncio.run(main())


def test_a_loop_that_ends_in_the_middle_harms_nothing(engine):
    ek = engine.keygen(P, 5000).ek

    async def main():
        task = asyncio.create_task(engine.encaps_async(P, ek))
        await asyncio.sleep(0.001)
        return task

    for _ in range(3):
        asyncio.run(main())
    gc.collect()
    assert not any(completions.pending for completions in engine._queues.values())
    assert engine.encaps(P, ek[:3]).ok


def test_errors_come_from_the_await(engine):
    async def main():
        with pytest.raises(ValueError, match="ek: takes"):
            await engine.encaps_async(P, np.zeros(5, np.uint8))
        closed = warpkem.Engine()
        closed.close()
        with pytest.raises(ValueError, match="closed"):
            await closed.keygen_async(P, 1)

    asyncio.run(main())


def test_prepared_keys_and_several_loops_at_once(engine):
    pairs = engine.keygen(P, 2)
    errors = []

    def work():
        async def main():
            with engine.prepare_ek(P, pairs.ek) as keys, engine.prepare_dk(P, pairs.dk) as own:
                for _ in range(20):
                    sent = await engine.encaps_prepared_async(keys, index=[0, 1, 1])
                    got = await engine.decaps_prepared_async(own, sent.c, index=[0, 1, 1])
                    assert (got.K == sent.K).all()
        try:
            asyncio.run(main())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
