package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cryptoserve/engine/fault"
)

// sample has a value of its own in each field.
func sample() *Input {
	return &Input{
		Algorithm: Algorithm{
			Name: "AES-256-GCM", KeyBits: 256, SecurityBits: 255, QuantumResistant: true, HardwareAcceleration: true, Approved: true,
			Mode: "gcm", Cipher: "AES",
		},
		Context: Context{
			Name: "health-records", Sensitivity: "critical", PII: true, PHI: true, PCI: true, NotificationRequired: true,
			Frameworks: []string{"HIPAA", "GDPR"}, ProtectionLifetimeYears: 7.5, Frequency: "rare", AuditLevel: "full",
		},
		Identity:  Identity{ID: "app_x_1", Name: "billing", Team: "research and development", Type: "application", Environment: "prod"},
		Operation: "encrypt", Class: "protect", Bytes: 4096,
		Time: time.Date(2026, 5, 4, 3, 2, 1, 0, time.FixedZone("", 7200)),
	}
}

func compiled(t testing.TB, text string) *Rule {
	t.Helper()
	r, err := Compile(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

// TestVariables reads each variable, and asks that the table below misses none.
func TestVariables(t *testing.T) {
	tests := map[string]string{
		"algorithm.name":                    "== 'AES-256-GCM'",
		"algorithm.key_bits":                "== 256",
		"algorithm.security_bits":           "== 255",
		"algorithm.quantum_resistant":       "== true",
		"algorithm.hardware_acceleration":   "== true",
		"algorithm.approved":                "== true",
		"algorithm.mode":                    "== 'gcm'",
		"algorithm.cipher":                  "== 'AES'",
		"context.name":                      "== 'health-records'",
		"context.sensitivity":               "== 'critical'",
		"context.pii":                       "== true",
		"context.phi":                       "== true",
		"context.pci":                       "== true",
		"context.notification_required":     "== true",
		"context.frameworks":                "== ['HIPAA', 'GDPR']",
		"context.protection_lifetime_years": "== 7.5",
		"context.frequency":                 "== 'rare'",
		"context.audit_level":               "== 'full'",
		"identity.id":                       "== 'app_x_1'",
		"identity.name":                     "== 'billing'",
		"identity.team":                     "== 'research and development'",
		"identity.type":                     "== 'application'",
		"identity.environment":              "== 'prod'",
		"operation":                         "== 'encrypt'",
		"operation_class":                   "== 'protect'",
		"data.size":                         "== 4096",
		"now":                               "== timestamp('2026-05-04T01:02:01Z')",
	}
	for i := range variables {
		name := variables[i].name
		r := compiled(t, name+" "+tests[name])
		if pass, err := r.Eval(sample()); !pass || err != nil {
			t.Errorf("%s %s: %v, %v", name, tests[name], pass, err)
		}
		if pass, err := r.Eval(&Input{}); pass || err != nil {
			t.Errorf("%s of an empty input: %v, %v", name, pass, err)
		}
		if want := name == "data.size" || name == "now"; r.Dynamic() != want {
			t.Errorf("%s: dynamic %v", name, r.Dynamic())
		}
		delete(tests, name)
	}
	if len(tests) > 0 {
		t.Errorf("not variables: %v", tests)
	}
}

func TestEval(t *testing.T) {
	tests := []struct {
		text string
		want bool
	}{
		{"context.sensitivity != 'critical' || algorithm.key_bits >= 256", true},
		{"identity.team in ['security', 'platform']", false},
		{"identity.team == 'research and development'", true},
		{"!('HIPAA' in context.frameworks) || (algorithm.key_bits >= 256 && context.audit_level == 'full')", true},
		{"algorithm.key_bits >= {'critical': 256, 'low': 128}[context.sensitivity]", true},
		{"context.protection_lifetime_years > 7 && context.protection_lifetime_years < 8", true},
		{"context.frameworks.exists(f, f.matches('^HI')) && context.frameworks.all(f, size(f) < 6)", true},
		{"context.frameworks.exists_one(f, f.startsWith('G')) && context.frameworks.filter(f, f.endsWith('A')).size() == 1", true},
		{"context.frameworks.map(f, f + '!') == ['HIPAA!', 'GDPR!']", true},
		{"context.frameworks[1].contains('DP') && matches(context.name, '^[a-z-]{3,20}$')", true},
		{"now.getHours() == 1 && now.getDayOfWeek() == 1 && now.getFullYear() == 2026 && now.getDate() == 4", true},
		{"timestamp('2030-01-01T00:00:00+05:00').getHours() == 19", true},
		{"now + duration('24h') < timestamp('2026-05-05T02:00:00Z')", true},
		{"data.size / 1024 == 4 && data.size % 1000 == 96 && -data.size < 0", true},
		{"int('12') == 12 && double(3) == 3.0 && string(data.size) == '4096' && string(now) == '2026-05-04T01:02:01Z'", true},
		{"true || 1 / 0 == 1", true},
		{"operation == 'decrypt'", false},
		{"[] == context.frameworks", false},
	}
	for _, tt := range tests {
		if pass, err := compiled(t, tt.text).Eval(sample()); pass != tt.want || err != nil {
			t.Errorf("%s: %v, %v", tt.text, pass, err)
		}
	}
}

// TestDynamic names what reads the moment without naming it first.
func TestDynamic(t *testing.T) {
	for text, want := range map[string]bool{
		"true":                                  false,
		"context.pii && operation == 'encrypt'": false,
		"timestamp('2026-01-01T00:00:00Z').getHours() == 0": false,
		"context.pii || .now.getHours() < 8":                true,
		"[1, 2].exists(n, n * 1000 > data.size)":            true,
		"true || data.`size` > 1":                           true,
	} {
		if got := compiled(t, text).Dynamic(); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestRefused(t *testing.T) {
	tests := []struct{ text, detail string }{
		{"", "the rule is empty"},
		{" \n\t", "the rule is empty"},
		{"'\xff' == ''", "UTF-8"},
		{strings.Repeat(" ", MaxBytes) + "true", "at most 4096 bytes"},
		{"algorithm.key_bit >= 256", "line 1, column 1: algorithm has no field key_bit: it has name, key_bits"},
		{"true &&\n  context.owner == 'x'", "line 2, column 3: context has no field owner"},
		{"data.bytes > 1", "data has no field bytes: it has size"},
		{"algorithm == 'AES'", "algorithm is not a value"},
		{"tenant == 'x'", "rules have no variable, function or macro tenant"},
		{"operation.name == 'x'", "does not support field selection"},
		{"algorithm.key_bits >= '256'", "column 20: >= does not take (int, string)"},
		{"context.protection_lifetime_years == 10", "== does not take (double, int)"},
		{"context.pii ? true : 1", "?: does not take (bool, bool, int)"},
		{"algorithm.key_bits", "true or false, and this one is of type int"},
		{"'true'", "of type string"},
		{"context.pii or context.phi", "column 13: Syntax error"},
		{"context.pii == ", "column 16: Syntax error"},
		{"'a\nb' == ''", "Syntax error"},
		{"now.getHours('Europe/Berlin') < 20", "getHours does not take timestamp.(string)"},
		{"now > timestamp('yesterday')", "invalid timestamp"},
		{"type(1) == int", "macro type"},
		{"dyn(1) == 1", "macro dyn"},
		{"uint(1) == 1u", "macro uint"},
		{"bytes('a') == b'a'", "macro bytes"},
		{"has(context.name)", "macro has"},
		{"b'a' == b'a'", "the type bytes is not one of rules"},
		{"null == null", "the type null is not one of rules"},
		{"int == int", "the type type(int) is not one of rules"},
		{"[1, 'a'].size() == 2", "expected type 'int' but found 'string'"},
		{"[][0]", "is not one of rules"},
		{"google.protobuf.Duration{seconds: 1} == duration('1s')", "rules make no messages"},
		{"[1, 2].exists(now, now == 1)", "now is a variable of all rules"},
		{"[1, 2].exists(context, context == 1)", "context is a variable of all rules"},
		{"context.name.matches('(')", "column 21: the pattern is not a regular expression"},
		{"context.name.matches(1)", "a pattern must be a text"},
	}
	for _, tt := range tests {
		r, err := Compile(tt.text)
		var f *fault.Error
		if r != nil || !errors.As(err, &f) || f.Kind != fault.Malformed || !strings.Contains(f.Detail, tt.detail) {
			t.Errorf("%q: %v, %v", tt.text, r, err)
		}
	}
}

// TestDetailIsPlain asks that a refusal is one short printable line, whatever the text was.
func TestDetailIsPlain(t *testing.T) {
	for _, text := range []string{strings.Repeat("\x00", 200), strings.Repeat("x", 3000) + " == 1", "\u202e\x1b[31m", "a.\r\nb("} {
		_, err := Compile(text)
		var f *fault.Error
		if !errors.As(err, &f) || len(f.Detail) > 400 || strings.ContainsAny(f.Detail, "\x00\x1b\r\n\u202e") {
			t.Errorf("%.20q: %q", text, err)
		}
	}
}

func TestNoAnswer(t *testing.T) {
	in := sample()
	in.Context.Sensitivity = "secret-value"
	tests := []struct{ text, detail string }{
		{"1 / (data.size - 4096) == 1", "division by zero"},
		{"1 % (data.size - 4096) == 1", "division by zero"},
		{"data.size + 9223372036854775807 > 0", "a number out of range"},
		{"int(context.protection_lifetime_years * 1e300) > 0", "a number out of range"},
		{"{'low': 1}[context.sensitivity] == 1", "a map has no such key"},
		{"context.frameworks[2] == 'x'", "a list has no such index"},
		{"int(context.sensitivity) > 1", "a text cannot be converted"},
		{"double(context.sensitivity) > 1.0", "a text cannot be converted"},
		{"timestamp(context.sensitivity) < now", "a text cannot be converted"},
		{"duration(context.sensitivity) < duration('1s')", "a text cannot be converted"},
	}
	for _, tt := range tests {
		pass, err := compiled(t, tt.text).Eval(in)
		var f *fault.Error
		if pass || !errors.As(err, &f) || f.Kind != fault.Forbidden || f.Detail != "the rule has no answer: "+tt.detail {
			t.Errorf("%s: %v, %v", tt.text, pass, err)
		}
	}
}

// TestContained: a panic of the library refuses the rule and passes on nothing that was made.
func TestContained(t *testing.T) {
	r, err := contained(func() (*Rule, error) { panic("unhandled") })
	if r != nil || !errors.Is(err, fault.Malformed) {
		t.Errorf("%v, %v", r, err)
	}
}

// TestShared has goroutines compile and evaluate at once, each with an input of its own; -race watches.
func TestShared(t *testing.T) {
	shared := compiled(t, "context.frameworks.exists(f, f == identity.name) && {1: 4, 2: 5}[algorithm.key_bits % 2 + 1] > 3 && "+
		"identity.name.matches('^F[0-9]$')")
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			in := sample()
			in.Identity.Name = fmt.Sprint("F", g)
			for i := range 200 {
				in.Algorithm.KeyBits = i
				in.Context.Frameworks = []string{"HIPAA", fmt.Sprint("F", g+i%2)}
				if pass, err := shared.Eval(in); pass != (i%2 == 0) || err != nil {
					t.Errorf("%d, %d: %v, %v", g, i, pass, err)
					return
				}
			}
			if _, err := Compile(fmt.Sprintf("algorithm.key_bits > %d", g)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// FuzzCompile compiles any text and evaluates what compiles: no panic, one of two kinds of error, and the same answer twice.
func FuzzCompile(f *testing.F) {
	for _, d := range Defaults() {
		f.Add(d.Expression)
	}
	for _, text := range slices.Concat(bombs, []string{
		"algorithm.key_bit >= 256", "{'a': 1}[context.name] == 1 / data.size", "now.getHours() < 20 ? [1, 2].all(n, n > 0) : false",
		"context.frameworks.map(f, f + f).exists(f, f.matches('^a{1,3}|[b-d]+?$'))", "'\\u00e9' in context.frameworks", "1e400 > 0.0",
	}) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Compile(text)
		if err != nil {
			if r != nil || !errors.Is(err, fault.Malformed) || strings.Contains(err.Error(), "panic") {
				t.Fatalf("%v, %v", r, err)
			}
			return
		}
		for _, in := range []*Input{{}, sample()} {
			first, err := r.Eval(in)
			if err != nil && (first || !errors.Is(err, fault.Forbidden) || strings.Contains(err.Error(), "internal error")) {
				t.Fatalf("%v, %v", first, err)
			}
			if second, again := r.Eval(in); second != first || (again == nil) != (err == nil) {
				t.Fatalf("%v, then %v; %v, then %v", first, second, err, again)
			}
		}
	})
}

func BenchmarkEval(b *testing.B) {
	for _, text := range []string{
		"context.sensitivity != 'critical' || algorithm.key_bits >= 256",
		"!('HIPAA' in context.frameworks) || (algorithm.key_bits >= 256 && context.audit_level == 'full')",
		"context.frameworks.all(f, f in ['HIPAA', 'GDPR', 'SOC2'])",
	} {
		b.Run(text, func(b *testing.B) {
			r, in := compiled(b, text), sample()
			b.ReportAllocs()
			for b.Loop() {
				if pass, err := r.Eval(in); !pass || err != nil {
					b.Fatal(pass, err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		compiled(b, "context.sensitivity != 'critical' || algorithm.key_bits >= 256")
	}
}
