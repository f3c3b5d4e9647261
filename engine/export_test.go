package engine

import "sync/atomic"

// CountDecoys counts the decapsulations with decoy keys from now on.
func (e *Engine) CountDecoys() *atomic.Int64 {
	n := new(atomic.Int64)
	for name, d := range e.decoys {
		e.decoys[name] = countingDecoy{d, n}
	}
	return n
}

type countingDecoy struct {
	decapsulator
	n *atomic.Int64
}

func (c countingDecoy) Decapsulate(ciphertext []byte) ([]byte, error) {
	c.n.Add(1)
	return c.decapsulator.Decapsulate(ciphertext)
}

// Meters returns how many meters there are.
func (e *Engine) Meters() int {
	n := 0
	e.meters.byKey.Range(func(any, any) bool {
		n++
		return true
	})
	return n
}

// LeaseLeft returns what is left of this node's lease on a key version. Each call that waits for the next lease has made it
// one smaller than zero.
func (e *Engine) LeaseLeft(keyID string) int64 {
	if m, ok := e.meters.byKey.Load(keyID); ok {
		return m.(*meter).left.Load()
	}
	return 0
}

// HoldSlow takes every turn of slow computations until release is called.
func (e *Engine) HoldSlow() (release func()) {
	for range cap(e.slow) {
		e.slow <- struct{}{}
	}
	return func() {
		for range cap(e.slow) {
			<-e.slow
		}
	}
}
