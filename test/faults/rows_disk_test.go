package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"tapedeck/recorder"
)

// diskRows fill the disk that w1's spool is on.
func diskRows() []row {
	full := []recorder.EndReason{recorder.EndDiskFull}
	return []row{
		{
			name: "the disk fills up", done: "less is free than spool_reserve: the recording is ended", ends: full, needs: noLoop,
			set: func(s *stage) { s.smallDisk("12MiB") },
			play: func(s *stage) {
				s.at(breakAt)
				s.fill(8 << 20)
				s.awaitEnd(30 * time.Second)
			},
		},
		{
			name: "the disk is full", done: "not a byte is free, with spool_reserve 0", needs: noLoop,
			ends: append(full, recorder.EndPipeline),
			set:  func(s *stage) { s.smallDisk("0") },
			play: func(s *stage) {
				s.at(breakAt)
				s.fill(0)
				s.awaitEnd(60 * time.Second)
			},
		},
	}
}

const diskSize = 96 << 20

// noLoop says why a file cannot be mounted as a disk here.
func noLoop() string {
	if os.Geteuid() != 0 {
		return "mounting a small disk needs root"
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return "there are no loop devices here"
	}
	return ""
}

// smallDisk puts w1's spool on a disk of its own.
func (s *stage) smallDisk(reserve string) {
	s.Helper()
	image := filepath.Join(s.dir, "disk.img")
	require.NoError(s, os.WriteFile(image, nil, 0o600))
	require.NoError(s, os.Truncate(image, diskSize))
	out, err := exec.Command("mkfs.ext4", "-q", "-m", "0", image).CombinedOutput()
	require.NoError(s, err, "%s", out)
	disk := filepath.Join(s.dir, "disk")
	require.NoError(s, os.Mkdir(disk, 0o755))
	out, err = exec.Command("mount", "-o", "loop", image, disk).CombinedOutput()
	require.NoError(s, err, "%s", out)
	s.atClose = append(s.atClose, func() { _ = exec.Command("umount", "-l", disk).Run() })
	s.w1.spool = filepath.Join(disk, "spool")
	s.w1.more = append(s.w1.more, "TAPEDECK_WORKER_SPOOL_MIN_FREE=24MiB", "TAPEDECK_WORKER_SPOOL_RESERVE="+reserve)
}

// fill leaves so many bytes free on w1's disk. That is what ends the recording.
func (s *stage) fill(free uint64) {
	s.Helper()
	disk := filepath.Dir(s.w1.spool)
	var fs syscall.Statfs_t
	require.NoError(s, syscall.Statfs(disk, &fs))
	ballast, err := os.Create(filepath.Join(disk, "ballast"))
	require.NoError(s, err)
	defer ballast.Close()
	want := int64(fs.Bavail*uint64(fs.Bsize)) - int64(free)
	if free > 0 {
		require.NoError(s, syscall.Fallocate(int(ballast.Fd()), 0, 0, want))
	} else {
		chunk := make([]byte, 1<<20)
		for _, n := range []int{1 << 20, 4096, 1} {
			for err == nil {
				_, err = ballast.Write(chunk[:n])
			}
			err = nil
		}
	}
	s.stopped = time.Now()
}
