package audit

import (
	"syscall"
	"testing"
)

// mountSmall mounts a file system of 256 KiB for the time of the test.
func mountSmall(t *testing.T, dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		return err
	}
	t.Cleanup(func() { check(t, syscall.Unmount(dir, 0)) })
	return nil
}
