"""What the scripts of this folder share."""
import os
import subprocess


def run(*words, cwd=None, env=None):
    """What a command prints, with `env` on top of the environment. It must succeed."""
    done = subprocess.run([str(word) for word in words], cwd=cwd, env={**os.environ, **(env or {})}, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}\n{done.stdout[-6000:]}")
    return done.stdout
