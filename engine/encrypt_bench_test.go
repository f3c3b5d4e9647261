package engine_test

import (
	"math"
	"testing"
	"time"

	"cryptoserve/engine"
	"cryptoserve/engine/audit"
)

// BenchmarkEncrypt is an encryption of 1 KiB under a cached key, without the disk of the audit log: in a cluster of one, and with a
// lease whose clock is read.
func BenchmarkEncrypt(b *testing.B) {
	for _, c := range []struct {
		name  string
		lease int64
	}{{"one node", math.MaxInt64}, {"several nodes", 1 << 62}} {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b, func(cfg *engine.Config) {
				cfg.Ledger = clockedLedger{cfg.Ledger, c.lease}
				cfg.Audit = instantLog{}
			})
			in := engine.EncryptRequest{Context: "user-pii", Plaintext: make([]byte, 1024), Dst: make([]byte, 0, 4096)}
			call := w.call()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.engine.Encrypt(b.Context(), call, &in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// clockedLedger has a lease, and reads the clock for it.
type clockedLedger struct {
	engine.Ledger

	lease int64
}

func (l clockedLedger) Lease() int64             { return l.lease }
func (l clockedLedger) Expired(lease int64) bool { return time.Now().UnixNano() >= lease }

// instantLog takes records at once and forgets them.
type instantLog struct{}

func (instantLog) Append(*audit.Record) (audit.Receipt, error) {
	return audit.Receipt{Sequence: 1}, nil
}
