package clustertest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Disk makes what a process writes durable slowly, never, or not at all: it stands between the process, with all of its children, and the
// calls fsync and fdatasync of the kernel (seccomp user notification, seccomp_unotify(2)). Go programs make system calls
// themselves, so that no preloaded library would reach them. The zero value lets everything through. Goroutines may share it.
type Disk struct {
	mu      sync.Mutex
	delay   time.Duration
	fail    syscall.Errno
	changed chan struct{} // closed by the next set
	syncs   uint64
}

// Slow delays each sync by a time, until another method is called.
func (d *Disk) Slow(delay time.Duration) { d.set(delay, 0) }

// Hang lets no sync return until another method is called.
func (d *Disk) Hang() { d.set(1<<62, 0) }

// Fail lets each sync fail with an error, such as syscall.EIO, without doing it.
func (d *Disk) Fail(errno syscall.Errno) { d.set(0, errno) }

// Heal lets everything through again.
func (d *Disk) Heal() { d.set(0, 0) }

// Syncs counts the syncs so far.
func (d *Disk) Syncs() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

func (d *Disk) set(delay time.Duration, fail syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay, d.fail = delay, fail
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

// wait holds one sync as long as the disk is set to, and returns the error it ends with, 0 for none.
func (d *Disk) wait() syscall.Errno {
	from := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.syncs++
	for {
		left := d.delay - time.Since(from)
		if left <= 0 {
			return d.fail
		}
		if d.changed == nil {
			d.changed = make(chan struct{})
		}
		changed, timer := d.changed, time.NewTimer(left)
		d.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
		d.mu.Lock()
	}
}

// Numbers and layouts of linux/seccomp.h.
const (
	seccompSetModeFilter     = 1
	seccompNewListener       = 1 << 3
	seccompWaitKillable      = 1 << 5
	seccompUserNotif         = 0x7fc00000
	seccompAllow             = 0x7fff0000
	seccompContinue          = 1
	seccompIoctlRecv         = 0xc0502100 // _IOWR('!', 0, struct seccomp_notif), 80 bytes
	seccompIoctlSend         = 0xc0182101 // _IOWR('!', 1, struct seccomp_notif_resp), 24 bytes
	seccompDataOffsetOfNr    = 0
	bpfLoadWord              = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	bpfJumpEqual, bpfReturnK = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
)

type seccompNotif struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type seccompAnswer struct {
	id    uint64
	value int64
	err   int32
	flags uint32
}

// filter puts the disk before the syncs of the calling thread and of what it starts, and returns the descriptor on which they are told.
// It needs the right to administer the system.
func (d *Disk) filter() (int, error) {
	program := []unix.SockFilter{
		{Code: bpfLoadWord, K: seccompDataOffsetOfNr},
		{Code: bpfJumpEqual, Jt: 2, K: unix.SYS_FSYNC},
		{Code: bpfJumpEqual, Jt: 1, K: unix.SYS_FDATASYNC},
		{Code: bpfReturnK, K: seccompAllow},
		{Code: bpfReturnK, K: seccompUserNotif},
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]} // #nosec G115 -- five
	var errno syscall.Errno
	// Before Linux 5.19 a signal to the process makes the kernel tell a sync once more: it then takes longer.
	for _, flags := range []uintptr{seccompNewListener | seccompWaitKillable, seccompNewListener} {
		var fd uintptr
		// #nosec G103 -- the kernel reads the program during the call
		if fd, _, errno = unix.Syscall(unix.SYS_SECCOMP, seccompSetModeFilter, flags, uintptr(unsafe.Pointer(&fprog))); errno == 0 {
			unix.CloseOnExec(int(fd)) // #nosec G115 -- a descriptor
			return int(fd), nil       // #nosec G115
		}
		if errno != unix.EINVAL {
			break
		}
	}
	return -1, fmt.Errorf("clustertest: put a slow disk before a process: %w: it needs root and Linux 5.5 with seccomp filters", errno)
}

// serve answers what is told on the descriptor until nothing is left that could tell something, and closes it.
func (d *Disk) serve(fd int, ended <-chan struct{}) {
	defer func() { _ = unix.Close(fd) }() // nothing is written to it
	var pending sync.WaitGroup
	defer pending.Wait()
	for {
		select {
		case <-ended:
			return
		default:
		}
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} // #nosec G115 -- a descriptor
		n, err := unix.Poll(ready, 100)
		if err != nil && !errors.Is(err, unix.EINTR) || n > 0 && ready[0].Revents&unix.POLLIN == 0 {
			return
		}
		if n <= 0 {
			continue
		}
		var told seccompNotif
		if !seccompIoctl(fd, seccompIoctlRecv, unsafe.Pointer(&told)) { // #nosec G103 -- the kernel fills it during the call
			continue // whoever asked was killed meanwhile
		}
		pending.Go(func() {
			answer := seccompAnswer{id: told.id, flags: seccompContinue}
			if errno := d.wait(); errno != 0 {
				answer.err, answer.flags = -int32(errno), 0 // #nosec G115 -- a small number
			}
			_ = seccompIoctl(fd, seccompIoctlSend, unsafe.Pointer(&answer)) // #nosec G103 -- the kernel reads it during the call
		})
	}
}

func seccompIoctl(fd int, request uintptr, data unsafe.Pointer) bool {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(data))
	return errno == 0
}

// SmallDisk is a file system of a fixed size, in memory, that can be filled. What it holds is gone after the test.
type SmallDisk struct{ dir string }

// smallDiskSource begins the name of the source of every small disk; the id of the process that mounted it follows.
const smallDiskSource = "cryptoserve-test-"

// NewSmallDisk mounts a file system of so many bytes at a directory, which it makes. Remove takes it away.
func NewSmallDisk(dir string, bytes int64) (*SmallDisk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	sweepDisks()
	source := smallDiskSource + strconv.Itoa(os.Getpid())
	if err := unix.Mount(source, dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("size=%d,mode=700", bytes)); err != nil {
		return nil, fmt.Errorf("clustertest: mount a small disk at %s, which needs root: %w", dir, err)
	}
	atInterrupt(dir, func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return &SmallDisk{dir: dir}, nil
}

// sweepDisks takes away the disks of tests that were killed.
func sweepDisks() {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		id, ours := strings.CutPrefix(fields[0], smallDiskSource)
		if pid, err := strconv.Atoi(id); ours && err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			_ = unix.Unmount(fields[1], unix.MNT_DETACH) // another test may have been faster
		}
	}
}

func (s *SmallDisk) filler() string { return filepath.Join(s.dir, "filler") }

// Fill takes all the space that is left.
func (s *SmallDisk) Fill() error {
	f, err := os.OpenFile(s.filler(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	for size := 1 << 20; size > 0; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 16
		}
	}
	if errors.Is(err, unix.ENOSPC) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// Free gives the space back.
func (s *SmallDisk) Free() error {
	err := os.Remove(s.filler())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Remove takes the file system away. A process that has files of it open keeps those.
func (s *SmallDisk) Remove() error {
	notAtInterrupt(s.dir)
	return unix.Unmount(s.dir, unix.MNT_DETACH)
}
