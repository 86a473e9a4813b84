"""What the scripts of this folder share."""
import os
import shutil
import subprocess


def run(*words, cwd=None, env=None):
    """What a command prints, with `env` on top of the environment. It must succeed."""
    done = subprocess.run([str(word) for word in words], cwd=cwd, env={**os.environ, **(env or {})}, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}\n{done.stdout[-6000:]}")
    return done.stdout


def inside(root, script):
    """Runs a script of bash in a root. What is mounted there goes with the process."""
    enter = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" /usr/bin/env -i HOME=/root ' \
            'PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 bash -c "$1"'
    return run("unshare", "--mount", "sh", "-c", enter, root, script)


def clean_root(test, suite, pristine, root):
    """A root of its own, removed after the test: a copy of pristine/SUITE-pristine, which debootstrap makes once."""
    pristine = pristine / f"{suite}-pristine"
    if not pristine.is_dir():
        try:
            run("debootstrap", "--variant=minbase", suite, pristine)
        except AssertionError as error:
            shutil.rmtree(pristine, ignore_errors=True)
            test.skipTest(f"debootstrap of {suite}: {str(error).splitlines()[-1]}")
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    run("cp", "-a", pristine, root)
    test.addCleanup(shutil.rmtree, root)
    return root
