from __future__ import annotations

import pytest

from discomputify_ftp.mounts import kind_of, warning_for

MOUNTS = r"""/dev/sda1 / ext4 rw,relatime 0 0
tmpfs /tmp tmpfs rw 0 0
server:/export /home nfs4 rw 0 0
/dev/sdb1 /home/ann ext4 rw 0 0
tmpfs /mnt/with\040blank tmpfs rw 0 0
/dev/sdc1 /tmp xfs rw 0 0
short line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/srv/store", "ext4"),
        ("/tmp/store", "xfs"),
        ("/tmpfiles", "ext4"),
        ("/home/bob", "nfs4"),
        ("/home/ann/store", "ext4"),
        ("/mnt/with blank/x", "tmpfs"),
    ],
)
def test_the_longest_and_last_mount_counts(path: str, kind: str) -> None:
    assert kind_of(path, MOUNTS) == kind


def test_memory_and_network_are_warned_about() -> None:
    assert "reboot" in warning_for("tmpfs")
    assert "network" in warning_for("nfs4")
    assert warning_for("ext4") == warning_for("") == ""
