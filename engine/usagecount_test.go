package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/algs"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/keys"
	"cryptoserve/engine/policy"
)

// told returns what the ledger knows of a version's use, without what identifies it.
func (w *world) told(id string) keys.Usage {
	u := w.ledger.View().Tenant(w.tenant).Usage(id)
	if u == nil {
		return keys.Usage{}
	}
	return *u
}

func (w *world) flush() {
	w.t.Helper()
	if err := w.engine.FlushUsage(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// TestUsageCounts every kind of use once, and nothing that failed.
func TestUsageCounts(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	batch := func(data ...string) *engine.BatchRequest {
		return &engine.BatchRequest{Context: "user-pii", Items: items(data...)}
	}
	frame := string(w.mustEncrypt("user-pii", "secret", "").Ciphertext) // protects
	old := w.activeKey("user-pii")
	steps := []func() error{
		func() error { _, err := w.decrypt("user-pii", []byte(frame), ""); return err },                        // processes
		func() error { _, err := w.engine.EncryptBatch(ctx, w.call(), batch("a", "b", "c")); return err },      // protects 3
		func() error { _, err := w.engine.DecryptBatch(ctx, w.call(), batch(frame, "no", frame)); return err }, // processes 2
		func() error { _, err := w.engine.RewrapBatch(ctx, w.call(), batch(frame)); return err },               // both
		func() error {
			_, err := w.engine.DataKey(ctx, w.call(), &engine.DataKeyRequest{Context: "user-pii"}, true) // protects
			return err
		},
		func() error {
			var out bytes.Buffer
			begin := func(engine.StreamInfo) (io.Writer, error) { return &out, nil }
			in := &engine.StreamRequest{Context: "user-pii", Length: -1}
			if err := w.engine.EncryptStream(ctx, w.call(), in, bytes.NewReader([]byte("x")), begin); err != nil { // protects
				return err
			}
			return w.engine.DecryptStream(ctx, w.call(), in, bytes.NewReader(bytes.Clone(out.Bytes())), begin) // processes
		},
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	if _, err := w.decrypt("user-pii", []byte(frame), "other"); err == nil {
		t.Fatal("another associated data opens the frame")
	}
	w.flush()
	u := w.told(old)
	if u.Protected != 1+3+1+1+1 || u.Processed != 1+2+1+1 || u.Tenant != w.tenant {
		t.Errorf("told %+v", u)
	}
	for name, at := range map[string]int64{"protected": u.LastProtect, "processed": u.LastProcess} {
		if age := time.Since(time.UnixMilli(at)); age < 0 || age > time.Minute {
			t.Errorf("last %s %v ago", name, age)
		}
	}
	if r := w.audit.last.Load(); r.Action != string(policy.MergeUsage) || r.Kind != "appliance" || r.Administrative {
		t.Errorf("recorded %+v", r)
	}
	// A key object: what signs, and the version that verifies.
	name := w.newKey(algs.Ed25519, keys.Host)
	sign := engine.SignRequest{Key: name, Message: []byte("m")}
	signed, err := w.engine.Sign(ctx, w.call(), &sign)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.engine.RotateKey(ctx, w.owner(), name); err != nil {
		t.Fatal(err)
	}
	for _, message := range []string{"m", "other"} {
		sign.Message = []byte(message)
		if _, err := w.engine.Verify(ctx, w.call(), &engine.VerifyRequest{SignRequest: sign, Signature: signed.Signature}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := w.engine.KeyVersions(ctx, w.owner(), name) // before the ledger is told
	if err != nil || list[1].Usage.Protected != 1 || list[1].Usage.Processed != 1 || list[0].Usage.Processed != 0 {
		t.Errorf("got %+v, %v", list, err)
	}
}

// TestNothingIsToldTwice, nor anything when there is nothing, nor lost when the ledger does not take it.
func TestNothingIsToldTwice(t *testing.T) {
	w := newWorld(t)
	id := w.activeKey("user-pii")
	before, records := w.ledger.writes.Load(), w.audit.all.Load()
	w.flush()
	if w.ledger.writes.Load() != before || w.audit.all.Load() != records {
		t.Error("proposed or recorded when nothing was used")
	}
	w.mustEncrypt("user-pii", "x", "")
	down := fault.New(fault.LedgerUnavailable, "test", "no leader")
	w.ledger.onPropose = func(command.Command) error { return down }
	if err := w.engine.FlushUsage(t.Context()); !errors.Is(err, down) {
		t.Errorf("without a leader: %v", err)
	}
	w.ledger.onPropose = nil
	w.audit.fail.Store(true)
	if err := w.engine.FlushUsage(t.Context()); !errors.Is(err, fault.AuditUnavailable) {
		t.Errorf("without an audit log: %v", err)
	}
	w.audit.fail.Store(false)
	for range 2 {
		w.flush()
		if u := w.told(id); u.Protected != 1 {
			t.Errorf("told %+v", u)
		}
	}
}

// TestUsageOfManyVersions: no command grows without bound, and what is gone is not counted any more.
func TestUsageOfManyVersions(t *testing.T) {
	w := newWorld(t, noWait)
	const versions = 501
	for range versions {
		w.mustEncrypt("user-pii", "x", "")
		w.rotate("user-pii")
	}
	var sizes []int
	w.ledger.onPropose = func(c command.Command) error {
		if m, ok := c.(command.MergeUsage); ok {
			sizes = append(sizes, len(m.Usage))
		}
		return nil
	}
	w.flush()
	if len(sizes) != 2 || sizes[0] != 500 || sizes[1] != 1 {
		t.Errorf("told in commands of %v", sizes)
	}
	first := w.ledger.View().Tenant(w.tenant).ContextVersions("user-pii")[0].ID
	now := 0
	if first == w.activeKey("user-pii") {
		first = w.ledger.View().Tenant(w.tenant).ContextVersions("user-pii")[1].ID
	}
	if _, err := w.engine.DestroyVersion(t.Context(), w.owner(), first, "r", &now); err != nil {
		t.Fatal(err)
	}
	if err := w.engine.RunDuties(t.Context()); err != nil {
		t.Fatal(err)
	}
	counted := w.engine.Uses()
	w.flush()
	if n := w.engine.Uses(); n != counted-1 {
		t.Errorf("%d versions are counted, %d before one was destroyed", n, counted)
	}
}

// TestUsesAtOnce counts from many goroutines while the ledger is told: no use is lost and none told twice.
func TestUsesAtOnce(t *testing.T) {
	w := newWorld(t)
	v := w.version(w.activeKey("user-pii"))
	count := w.engine.CountUse(v)
	const workers, each = 8, 2000
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range each {
				count()
			}
		})
	}
	for range 5 {
		w.flush()
	}
	all.Wait()
	w.flush()
	if u := w.told(v.ID); u.Processed != workers*each {
		t.Errorf("told %d uses of %d", u.Processed, workers*each)
	}
}

// TestWhoStillUsesAnOldVersion names what processed something after it was replaced, and only that.
func TestWhoStillUsesAnOldVersion(t *testing.T) {
	w := newWorld(t)
	frames := map[string][]byte{}
	for _, c := range []string{"user-pii", "payment-data", "legacy"} {
		frames[c] = w.mustEncrypt(c, "x", "").Ciphertext
		if _, err := w.decrypt(c, frames[c], ""); err != nil { // before the rotation: does not count
			t.Fatal(err)
		}
	}
	report := func(context string) (ids []string) {
		t.Helper()
		list, err := w.engine.KeyUsage(t.Context(), w.owner(), context)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range list {
			ids = append(ids, v.Record.ID)
		}
		return ids
	}
	w.clock.Store(int64(time.Second))
	first, second := w.activeKey("user-pii"), w.activeKey("payment-data")
	w.rotate("user-pii")
	if _, err := w.engine.SuspendVersion(t.Context(), w.owner(), second, ""); err != nil {
		t.Fatal(err)
	}
	w.rotate("payment-data")
	if got := report(""); len(got) != 0 {
		t.Errorf("nothing old was used, and the report has %v", got)
	}
	w.clock.Store(int64(2 * time.Second))
	w.engine.Tend()
	if _, err := w.engine.ResumeVersion(t.Context(), w.owner(), second, ""); err != nil {
		t.Fatal(err)
	}
	w.clock.Store(int64(3 * time.Second))
	w.engine.Tend()
	for c, frame := range frames {
		if _, err := w.decrypt(c, frame, ""); err != nil {
			t.Fatalf("%s: %v", c, err)
		}
	}
	if got := report(""); fmt.Sprint(got) != fmt.Sprint([]string{second, first}) {
		t.Errorf("the report has %v", got)
	}
	w.flush()
	if got := report("user-pii"); fmt.Sprint(got) != fmt.Sprint([]string{first}) {
		t.Errorf("the report on one context has %v", got)
	}
	if got := report("closed"); got != nil {
		t.Errorf("the report on an unused context has %v", got)
	}
}

// BenchmarkCountUse is what counting adds to a request: at most 50 ns.
func BenchmarkCountUse(b *testing.B) {
	e, err := engine.New(engine.Config{Vault: &vault{Token: token}, Ledger: benchLedger{}, Audit: &auditLog{}})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	count := e.CountUse(&keys.Version{ID: "key_user-pii_0123456789abcdef", Tenant: "tenant-1"})
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			count()
		}
	})
	b.Run("all at once", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				count()
			}
		})
	})
}

// benchLedger is never asked.
type benchLedger struct{ engine.Ledger }

func (benchLedger) Epoch() uint64                 { return 0 }
func (benchLedger) Compact(context.Context) error { return nil }
