"""The options that the jobs share."""
import argparse
import pathlib
import sys

import warpkem
from warpkem import jobs, ray


def parser(description):
    made = argparse.ArgumentParser(description=description, epilog="A secret goes by name: file:/path, or env:NAME with "
                                   "hexadecimal digits. A job that was interrupted goes on when it is started again.")
    made.add_argument("--out", required=True, type=pathlib.Path, help="folder of the output, made if it is not there")
    made.add_argument("--algorithm", default="ML-KEM-768", type=warpkem.algorithm)
    made.add_argument("--job-secret", required=True, metavar="SECRET", help="what all randomness is derived from; new for each job")
    made.add_argument("--context", default="", help="sets apart jobs that have the same job secret")
    made.add_argument("--rows-per-part", type=int, default=65536)
    made.add_argument("--ray", metavar="ADDRESS", help='run on Ray; "auto": the cluster that this machine belongs to')
    made.add_argument("--cpus", type=int, default=1, help="of a task on Ray")
    return made


def run(make_source, step, arguments, keep, args, secrets, finish=lambda out: None):
    """Runs the job, and then `finish`, on its folder; says in one line what is wrong with it."""
    arguments = {"algorithm": args.algorithm.name, "job_secret": args.job_secret, "context": args.context, **arguments}
    try:
        jobs.run(jobs.Job(make_source(), step, arguments, keep, args.out), [ray.secret(one) for one in secrets], args.ray, args.cpus)
        finish(args.out)
    except (OSError, ValueError, warpkem.Error) as error:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {error}\nWhat is done stays done: start it again to go on.")
