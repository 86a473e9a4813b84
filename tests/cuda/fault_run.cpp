// One run of the whole workload on the CUDA backend, for fault_sweep.py: says for each operation whether the answer was
// right, an error with nothing in the outputs, or wrong, and how often each runtime function was called.
//
//     fault_run strict|fail-over CHUNK STREAMS COUNT pageable|pinned|repeated
//
// "repeated" asks everything three times, so that graphs are captured and replayed; "pinned" makes none.
// Exit: 0 if nothing was wrong; with fail-over, an operation's error is wrong too.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/cuda/runtime_calls.hpp"
#include "tests/cuda/workload.hpp"

int main(int argc, char** argv) {
  using namespace warpkem::test;
  if (argc != 6) return 2;
  const bool strict = std::strcmp(argv[1], "strict") == 0;
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = "cuda";
  options.cuda_chunk = std::strtoul(argv[2], nullptr, 10);
  options.cuda_streams = static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10));
  if (strict) options.flags |= WARPKEM_NO_FAIL_OVER;
  const Inputs inputs(WARPKEM_ML_KEM_768, std::strtoul(argv[4], nullptr, 10), 1);
  const bool pinned = std::strcmp(argv[5], "pinned") == 0, repeated = std::strcmp(argv[5], "repeated") == 0;
  const Memory memory = pinned ? Memory::registered : Memory::pageable;
  if (pinned) setenv("WARPKEM_CUDA_GRAPHS", "0", 1);

  watch_frees = true;
  bool good = true;
  {
    const Engine engine(options);
    if (engine.get() == nullptr) {
      std::printf("engine: error %s\n", engine.why_not().c_str());
    } else {
      for (std::size_t i = 0; i < num_operations * (repeated ? 3 : 1); ++i) {
        const std::size_t operation = repeated ? i / 3 : i;
        const Answer answer = ask(engine.get(), inputs, operation, memory);
        const bool right = answer.agrees(expected_answer(inputs, operation), false);
        const bool acceptable = right || (strict && answer.agrees(expected_answer(inputs, operation), true));
        good = good && acceptable;
        std::printf("%s: %s %s\n", operation_names[operation],
                    right        ? "right"
                    : acceptable ? "error"
                                 : "WRONG",
                    right ? "" : answer.text.c_str());
      }
    }
  }
  if (unwiped_frees != 0) {
    std::printf("WRONG: memory was freed unwiped, %ld times\n", unwiped_frees.load());
    good = false;
  }
  for (const CallCounter& counter : runtime_calls()) std::printf("calls %s %ld\n", counter.name, counter.calls.load());
  std::fflush(stdout);
  return good ? 0 : 1;
}
