#!/usr/bin/env python3
"""Encapsulates a content key to every recipient of a Parquet file with a column ek. bad.csv in the folder lists bad keys.

encapsulate.py recipients.parquet --content-key file:content.key --job-secret file:job.key --out messages
"""
import csv
import io

import common
import pyarrow.parquet as pq
from warpkem import Status, jobs, ray


def list_bad(out):
    """Writes bad.csv from the statuses of all parts."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["id", "status"])
    for path in jobs.parts(out):
        table = pq.read_table(path, columns=["id", "status"])
        status = table.column("status").to_numpy()
        rows.writerows((table.column("id")[i].as_py(), Status(status[i]).name) for i in status.nonzero()[0])
    jobs.write(out / "bad.csv", lambda file: file.write(text.getvalue().encode()))


def main():
    parser = common.parser("Encapsulates a content key to every recipient: c, and wrapped_key in AES-256-GCM under K.")
    parser.add_argument("recipients", help="Parquet file with a column ek, and perhaps a column id")
    parser.add_argument("--content-key", required=True, metavar="SECRET")
    args = parser.parse_args()
    common.run(lambda: jobs.Parquet(args.recipients, args.rows_per_part), ray.Encapsulate, {"content_key": args.content_key},
               ["id", "c", "wrapped_key", "status"], args, [args.job_secret, args.content_key], list_bad)


if __name__ == "__main__":
    main()
