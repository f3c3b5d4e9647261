package clustertest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"pgregory.net/rapid"
)

const patience = 10 * time.Second

// line reads a history in short: "revoke 10-20, encrypt 21-30". A "?" after the interval means that the outcome is unknown, "!" that it was
// refused, "=3" that the value was 3.
func line(t *testing.T, text string) []Operation {
	t.Helper()
	var ops []Operation
	for i, item := range strings.Split(text, ", ") {
		name, rest, _ := strings.Cut(item, " ")
		op := Operation{Client: i, Node: "n1", Object: "x", Outcome: OK}
		for k, known := range kinds {
			if known == strings.ReplaceAll(name, "_", " ") && known != "" {
				op.Kind = Kind(k)
			}
		}
		rest, value, _ := strings.Cut(rest, "=")
		if value != "" {
			if _, err := fmt.Sscan(value, &op.Value); err != nil {
				t.Fatal(item, err)
			}
		}
		switch {
		case strings.HasSuffix(rest, "?"):
			op.Outcome = Unknown
		case strings.HasSuffix(rest, "!"):
			op.Outcome = Refused
		}
		if _, err := fmt.Sscanf(strings.TrimRight(rest, "?!"), "%d-%d", &op.Call, &op.Return); err != nil || op.Kind == 0 {
			t.Fatalf("%q is no operation: %v", item, err)
		}
		ops = append(ops, op)
	}
	return ops
}

func TestCheckFence(t *testing.T) {
	tests := map[string]struct {
		history string
		stale   int
	}{
		"use before":                        {"encrypt 1-5, revoke 10-20", 0},
		"use began before the return":       {"revoke 10-20, encrypt 19-40", 0},
		"use began at the return":           {"revoke 10-20, encrypt 20-40", 0},
		"use after":                         {"revoke 10-20, encrypt 21-30", 1},
		"refused after":                     {"revoke 10-20, encrypt 21-30!", 0},
		"nothing known of the use":          {"revoke 10-20, encrypt 21-30?", 0},
		"decrypt after":                     {"revoke 10-20, decrypt 21-30", 1},
		"revoke of unknown outcome":         {"revoke 10-20?, encrypt 21-30", 0},
		"revoke refused":                    {"revoke 10-20!, encrypt 21-30", 0},
		"given back before":                 {"revoke 10-20, re-grant 22-25, encrypt 30-40", 0},
		"given back meanwhile":              {"revoke 10-20, encrypt 30-40, re-grant 35-50", 0},
		"given back at the end":             {"revoke 10-20, encrypt 30-40, re-grant 40-50", 0},
		"given back too late":               {"revoke 10-20, encrypt 30-40, re-grant 41-50", 1},
		"given back before it was taken":    {"re-grant 1-5, revoke 10-20, encrypt 30-40", 1},
		"given back while it was taken":     {"revoke 10-20, re-grant 5-15, encrypt 30-40", 0},
		"perhaps given back":                {"revoke 10-20, re-grant 22-25?, encrypt 30-40", 0},
		"perhaps given back, much later":    {"re-grant 1-5?, revoke 10-20, encrypt 30-40", 0},
		"giving back was refused":           {"revoke 10-20, re-grant 22-25!, encrypt 30-40", 1},
		"taken twice, given back once":      {"revoke 10-20, re-grant 22-25, revoke 30-40, encrypt 41-50", 1},
		"the second one not yet returned":   {"revoke 10-20, re-grant 22-25, revoke 30-60, encrypt 41-50", 0},
		"a late return of the older revoke": {"revoke 1-20, re-grant 2-3, revoke 5-9, encrypt 10-12", 1},
		// Leases from LastContact: the node that was cut off hears heartbeats again, and serves from a state machine that has
		// not caught up; or serves on while it is cut off.
		"a follower restarted, not replayed": {"revoke 100-120, encrypt 90-95!, decrypt 121-122, encrypt 123-124, encrypt 300-301!", 2},
		"a follower cut off serves on":       {"encrypt 1-2, revoke 100-110, encrypt 105-106, encrypt 200-201, encrypt 5000-5001!", 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ops := line(t, tt.history)
			if got := CheckFence(ops); len(got) != tt.stale {
				t.Errorf("found %v, want %d", got, tt.stale)
			}
			want := porcupine.Ok
			if tt.stale > 0 {
				want = porcupine.Illegal
			}
			if got := CheckFenceModel(ops, patience); got != want {
				t.Errorf("the model says %s, want %s", got, want)
			}
		})
	}
}

// TestCheckFenceByRight holds the rights apart: what happens to one says nothing about another.
func TestCheckFenceByRight(t *testing.T) {
	ops := line(t, "revoke 10-20, encrypt 30-40")
	ops[1].Object = "y"
	if got := CheckFence(ops); len(got) != 0 {
		t.Errorf("found %v", got)
	}
	if got := CheckFenceModel(ops, patience); got != porcupine.Ok {
		t.Errorf("the model says %s", got)
	}
}

// TestFenceScanAgainstModel: scan and model agree about any history.
func TestFenceScanAgainstModel(t *testing.T) {
	verdicts := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		var ops []Operation
		for i := range rapid.IntRange(1, 9).Draw(t, "n") {
			call := rapid.Int64Range(0, 30).Draw(t, "call")
			ops = append(ops, Operation{
				Client: i, Object: "x", Call: call, Return: call + rapid.Int64Range(0, 8).Draw(t, "takes"),
				Kind:    rapid.SampledFrom([]Kind{Encrypt, Decrypt, Revoke, Grant}).Draw(t, "kind"),
				Outcome: rapid.SampledFrom([]Outcome{OK, OK, OK, Refused, Unknown}).Draw(t, "outcome"),
			})
		}
		scan, want := CheckFence(ops), porcupine.Ok
		if len(scan) > 0 {
			want = porcupine.Illegal
		}
		verdicts[len(scan) > 0]++
		if got := CheckFenceModel(ops, patience); got != want {
			t.Fatalf("the scan finds %v, the model says %s about %v", scan, got, ops)
		}
	})
	if verdicts[true] == 0 || verdicts[false] == 0 {
		t.Errorf("verdicts %v: the test compared only one kind", verdicts)
	}
}

func TestCheckVersions(t *testing.T) {
	tests := map[string]struct {
		history string
		good    bool
	}{
		"nothing but the first":         {"read_version 1-2=1", true},
		"one after the other":           {"rotate 1-2=2, read_version 3-4=2, rotate 5-6=3, read_version 7-8=3", true},
		"overlapping":                   {"rotate 1-10=3, rotate 2-9=2, read_version 3-8=1", true},
		"stale read":                    {"rotate 1-2=2, read_version 3-4=1", false},
		"read of what comes":            {"read_version 1-2=2, rotate 3-4=2", false},
		"reads go back":                 {"rotate 1-100=2, read_version 2-3=2, read_version 4-5=1", false},
		"reads overlap and differ":      {"rotate 1-100=2, read_version 2-5=2, read_version 4-6=1", true},
		"made twice":                    {"rotate 1-2=2, rotate 3-4=2", false},
		"took effect twice":             {"rotate 1-2=2, rotate 3-4=4", false},
		"the gap is of an unknown one":  {"rotate 1-2=2, rotate 2-3?, rotate 4-5=4", true},
		"the unknown one began after":   {"rotate 1-2=2, rotate 3-4=4, rotate 6-7?", false},
		"unknown that never happened":   {"rotate 1-2?, rotate 3-4=2, read_version 5-6=2", true},
		"unknown that happened late":    {"rotate 1-2?, read_version 3-4=1, read_version 5-6=2", true},
		"unknown does not explain two":  {"rotate 1-2?, read_version 5-6=3", false},
		"refused, but it happened":      {"rotate 1-2!, read_version 5-6=2", false},
		"order against time":            {"rotate 1-2=3, rotate 3-4=2", false},
		"lost after a change of leader": {"rotate 1-2=2, rotate 3-4=3, read_version 5-6=2, rotate 7-8=4", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ops := line(t, tt.history)
			if err := CheckVersions(ops); (err == nil) != tt.good {
				t.Errorf("answer %v, want good=%v", err, tt.good)
			}
			if got := CheckVersionModel(ops, patience); (got == porcupine.Ok) != tt.good {
				t.Errorf("the model says %s, want good=%v", got, tt.good)
			}
		})
	}
}

// TestVersionScanAgainstModel: scan and model agree about any history.
func TestVersionScanAgainstModel(t *testing.T) {
	verdicts := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		var ops []Operation
		version := uint64(1)
		for i := range rapid.IntRange(1, 8).Draw(t, "n") {
			call := int64(4*i) - rapid.Int64Range(0, 9).Draw(t, "early")
			op := Operation{
				Client: i, Object: "x", Call: call, Return: int64(4*i) + rapid.Int64Range(0, 9).Draw(t, "late"),
				Kind:    rapid.SampledFrom([]Kind{Rotate, ReadVersion}).Draw(t, "kind"),
				Outcome: rapid.SampledFrom([]Outcome{OK, OK, OK, Refused, Unknown}).Draw(t, "outcome"),
			}
			// Most histories are nearly right.
			if op.Kind == Rotate && op.Outcome == OK || op.Outcome == Unknown && rapid.Bool().Draw(t, "happened") && op.Kind == Rotate {
				version++
			}
			if op.Outcome == OK {
				op.Value = version + rapid.SampledFrom([]uint64{0, 0, 0, 0, 1}).Draw(t, "off")
			}
			ops = append(ops, op)
		}
		err, got := CheckVersions(ops), CheckVersionModel(ops, patience)
		verdicts[err == nil]++
		if (err == nil) != (got == porcupine.Ok) {
			t.Fatalf("the scan says %v, the model %s about %v", err, got, ops)
		}
	})
	if verdicts[true] == 0 || verdicts[false] == 0 {
		t.Errorf("verdicts %v: the test compared only one kind", verdicts)
	}
}

func TestCheckRightModel(t *testing.T) {
	tests := map[string]struct {
		history string
		good    bool
	}{
		"given at first":          {"read_right 1-2=1", true},
		"taken":                   {"revoke 1-2, read_right 3-4=0", true},
		"stale":                   {"revoke 1-2, read_right 3-4=1", false},
		"meanwhile":               {"revoke 1-5, read_right 3-4=1", true},
		"back":                    {"revoke 1-2, re-grant 3-4, read_right 5-6=1", true},
		"back, but lost":          {"revoke 1-2, re-grant 3-4, read_right 5-6=0", false},
		"unknown, late":           {"revoke 1-2?, read_right 3-4=1, read_right 5-6=0", true},
		"unknown, and back again": {"revoke 1-2?, read_right 3-4=0, read_right 5-6=1", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := CheckRightModel(line(t, tt.history), patience); (got == porcupine.Ok) != tt.good {
				t.Errorf("the model says %s, want good=%v", got, tt.good)
			}
		})
	}
}

func TestHistoryKeepsOutcomes(t *testing.T) {
	h := NewHistory()
	h.Do(1, "n1", Rotate, "k", func() Answer { time.Sleep(time.Millisecond); return Answer{Outcome: OK, Value: 2, Detail: "200"} })
	h.Do(2, "n2", Encrypt, "r", func() Answer { return Answer{Outcome: Unknown} })
	ops := h.Operations()
	if len(ops) != 2 || ops[0].Value != 2 || ops[0].Return-ops[0].Call < int64(time.Millisecond) || ops[1].returned() != never {
		t.Errorf("recorded %v", ops)
	}
	if ops[1].Call < ops[0].Return {
		t.Error("the clock goes back")
	}
}
