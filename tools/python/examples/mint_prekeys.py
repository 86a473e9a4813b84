#!/usr/bin/env python3
"""Mints prekeys: N key pairs for each of M users, to Parquet. Public keys in the clear, seeds wrapped under the operator's key.

mint_prekeys.py --users 1000 --keys 100 --job-secret file:job.key --wrap-key file:operator.key --out prekeys
"""
import common
from warpkem import jobs, ray


class Mint(ray.Keygen):
    """Key generation; the id of a key is its number, user * keys + n."""

    def __init__(self, keys, **arguments):
        super().__init__(**arguments)
        self.keys = keys

    def __call__(self, table):
        ids = table.column("id").to_numpy()
        table = super().__call__(table)
        return table.append_column("user", [ids // self.keys]).append_column("key", [ids % self.keys])


def main():
    parser = common.parser("Mints prekeys to Parquet: ek in the clear, seed wrapped in AES-256-GCM.")
    parser.add_argument("--users", required=True, type=int)
    parser.add_argument("--keys", type=int, default=100, help="key pairs for each user")
    parser.add_argument("--wrap-key", required=True, metavar="SECRET", help="AES-256 key of the operator")
    args = parser.parse_args()
    common.run(lambda: jobs.Made(args.users * args.keys, args.rows_per_part), Mint,
               {"keys": args.keys, "wrap_key": args.wrap_key}, ["user", "key", "ek", "seed"], args,
               [args.job_secret, args.wrap_key])


if __name__ == "__main__":
    main()
