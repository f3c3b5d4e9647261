package audit

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) { // #nosec G115 -- a descriptor is an int
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// allocate reserves space for the first size bytes without changing what the file holds. A file system that cannot
// reserve shows a lack of space when the zeros are written.
func allocate(f *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size) // #nosec G115 -- as above
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return nil
		}
		return os.NewSyscallError("fallocate", err)
	}
}

// dropCache makes the next read come from the disk. After a failed sync the kernel may keep pages in memory, marked
// clean, that never reached the disk: a restart must not take them for the truth.
func dropCache(f *os.File) error {
	return os.NewSyscallError("fadvise", unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)) // #nosec G115 -- as above
}
