package engine

import (
	"fmt"
	"testing"
	"time"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/audit"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// BenchmarkDecide measures what policies add to a use of a key: none, those that are decided once, and one that each call
// decides anew.
func BenchmarkDecide(b *testing.B) {
	const fixed = "context.sensitivity != 'critical' || algorithm.key_bits >= 256"
	const dynamic = "data.size <= 1048576 || algorithm.key_bits >= 256"
	for _, c := range []struct {
		name, expression string
		policies         int
	}{{"none", fixed, 0}, {"fixed", fixed, 1}, {"fixed", fixed, 100}, {"dynamic", dynamic, 1}} {
		b.Run(fmt.Sprintf("%s=%d", c.name, c.policies), func(b *testing.B) {
			books, err := newRulebooks()
			if err != nil {
				b.Fatal(err)
			}
			e := &Engine{now: time.Now}
			var list []*directory.Policy
			for i := range c.policies {
				list = append(list, &directory.Policy{Name: fmt.Sprintf("p-%d", i), Expression: c.expression, Status: directory.Enabled})
			}
			context := &directory.Context{Name: "user-pii"}
			p := &plan{context: context, toProtect: newConditions(books.compile(list), context, nil, policy.Encrypt, keys.Protect)}
			row, _ := algs.Lookup(algs.AES256GCM)
			var r audit.Record
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.decide(p, keys.Protect, row, 1024, &r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
