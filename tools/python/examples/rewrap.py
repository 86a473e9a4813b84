#!/usr/bin/env python3
"""Rewraps a Parquet file with columns id, c and wrapped_key: from an old key, whose dk is given, to a new one.

rewrap.py messages.parquet --old-dk file:old.seed --new-ek new.ek --job-secret file:job.key --out rewrapped
"""
import pathlib

import common
from warpkem import jobs, ray


def main():
    parser = common.parser("Decapsulates with an old key and encapsulates anew to a new one; the wrapped keys stay the same.")
    parser.add_argument("messages", help="Parquet file with columns id, c, wrapped_key")
    parser.add_argument("--old-dk", required=True, metavar="SECRET")
    parser.add_argument("--dk-format", default="seed")
    parser.add_argument("--new-ek", required=True, type=pathlib.Path, help="file with the new key")
    args = parser.parse_args()
    common.run(lambda: jobs.Parquet(args.messages, args.rows_per_part), ray.Rewrap,
               {"dk": args.old_dk, "dk_format": args.dk_format, "new_ek": args.new_ek.read_bytes()},
               ["id", "c", "wrapped_key", "status"], args, [args.job_secret, args.old_dk])


if __name__ == "__main__":
    main()
