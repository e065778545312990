"""Real mounts, random clients, random kills: what was acknowledged has to be there (docs/TORTURE.md).

Promised, and checked against a model after each kill, after each remount, and in copies of earlier versions:

- A daemon that is killed (at work, in a commit, in an unmount, while it starts and takes a journal up) loses nothing of
  what was closed, nor of any change of names; of a chunk or document that was open, the last closed content is there.
- A client that is killed leaves the old chunk or document, or a whole new one; of plain files what it had written.
- What two clients do at once in one mount does not mix.
- A compaction changes nothing that a mount shows, also when it is killed, and the next mount ends it.
- A version never changes, stays listed, and the container is sound.

`model.py` says what has to be there, `activities.py` what clients do, `rounds.py` what is done to them.
"""
