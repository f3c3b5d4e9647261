package clustertest

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// interrupts holds what must be undone when the test is interrupted, because its cleanups do not run then. Processes and networks
// need none of it: the kernel ends them with the test.
var interrupts struct {
	once sync.Once
	mu   sync.Mutex
	undo map[string]func()
}

func atInterrupt(name string, undo func()) {
	interrupts.once.Do(func() {
		interrupts.undo = map[string]func(){}
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		go func() {
			s := <-signals
			interrupts.mu.Lock() // for good: the process ends
			for _, undo := range interrupts.undo {
				undo()
			}
			signal.Reset()
			if own, ok := s.(syscall.Signal); !ok || syscall.Kill(os.Getpid(), own) != nil {
				os.Exit(1)
			}
		}()
	})
	interrupts.mu.Lock()
	defer interrupts.mu.Unlock()
	interrupts.undo[name] = undo
}

func notAtInterrupt(name string) {
	interrupts.mu.Lock()
	defer interrupts.mu.Unlock()
	delete(interrupts.undo, name)
}
