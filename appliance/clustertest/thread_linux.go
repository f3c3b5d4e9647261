package clustertest

import "runtime"

// The first thread of a program cannot end. Locked to the main goroutine, it runs nothing of onOwnThread.
func init() { runtime.LockOSThread() }

// onOwnThread runs f on a thread that ends with it, so that f may change what belongs to the thread: its namespaces and its system call
// filter. Processes that f starts inherit both, and with Pdeathsig they die when f returns or the test does.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends
		done <- f()
	}()
	return <-done
}
