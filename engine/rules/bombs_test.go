package rules

import (
	"errors"
	"strings"
	"testing"

	"cryptoserve/engine/fault"
)

// bombs are rules that would take more time or memory than any rule should, each refused when it is compiled.
var bombs = []string{
	// Deep and long texts.
	strings.Repeat("(", 2000),
	strings.Repeat("(", 2000) + "true" + strings.Repeat(")", 2000),
	strings.Repeat("[", 4000),
	strings.Repeat("{1: ", 1000),
	strings.Repeat("size(", 800),
	strings.Repeat("true ? ", 500) + "true" + strings.Repeat(" : true", 60),
	strings.Repeat("1+", 2000) + "1 == 1",
	strings.Repeat("a.", 2000) + "b",
	strings.Repeat("true&&", 600) + "true",
	"1 in [" + strings.Repeat("1,", 1000) + "1]",

	// Types that double: each step's type holds the one before twice.
	"[1]" + strings.Repeat(".map(a, {a: a})", 7) + ".size() == 1",
	"{{1: 1}: {1: 1}} == {{1: 1}: {1: 1}}",

	// Values that double: each step's list refers to the one before three times, and equality follows them all.
	"[1].map(a, [a, a, a])[0].map(a, [a, a, a])[0] == []",
	"[[1, 2], [3, 4]] == [[1, 2], [3, 4]]",
	"[{'a': 1}] == [{'a': 1}]",

	// Loops in loops, chains of loops, many loops.
	"context.frameworks.all(a, context.frameworks.all(b, context.frameworks.all(c, a != b || b != c)))",
	"[1].all(a, [1].all(b, [1].all(c, a == b && b == c)))",
	"context.frameworks.map(a, a + a).map(a, a + a).map(a, a + a).size() == 0",
	strings.Repeat("[1].all(a, a == 1) && ", 8) + "[1].all(a, a == 1)",
	"context.frameworks.all(a, context.frameworks.all(b, a.contains(b) || b.contains(a) || a + b == b + a))",

	// Texts that grow.
	"size(" + strings.Repeat("identity.name + ", 60) + "'') > 0",

	// Patterns.
	"context.name.matches('(.{1,100}){1,10}')",
	"context.name.matches('.{500}')",
	"context.name.matches('((a{100}){100}){100}')",
	"context.name.matches('" + strings.Repeat("a", 257) + "')",
	"context.name.matches(identity.name)",
	"matches(context.name, identity.name)",
	"context.name.matches('a' + 'b')",
	strings.Repeat("context.name.matches('[ab]+$') || ", 90) + "true",
}

func TestBombs(t *testing.T) {
	for _, text := range bombs {
		if r, err := Compile(text); r != nil || !errors.Is(err, fault.Malformed) || strings.Contains(err.Error(), "panic") {
			t.Errorf("%.80q: %v, %v", text, r, err)
		}
	}
}

// TestBombReasons holds some of them to the bound that is meant for them, so that no other one hides its loss.
func TestBombReasons(t *testing.T) {
	tests := []struct{ text, detail string }{
		{strings.Repeat("(", 50) + "true" + strings.Repeat(")", 50), "recursion limit exceeded: 40"},
		{strings.Repeat("true&&", 600) + "true", "node count exceeds limit"},
		{"[1].map(a, {a: a}).size() == 1", "the keys of a map must be constants"},
		{"[[1]] == [[1]]", "the type list(list(int)) is not one of rules"},
		{strings.Repeat("[1].all(a, a == 1) && ", 8) + "true && [1].all(a, a == 1)", "more than 8 loops"},
		{"[1].all(a, [1].all(b, [1].all(c, a == b && b == c)))", "nesting limit"},
		{"context.frameworks.all(a, context.frameworks.all(b, a.contains(b) || b.contains(a)))", "may cost more than 10000 units"},
		{"size(" + strings.Repeat("("+strings.Repeat("identity.name + ", 20)+"'') + ", 8) + "'') > 0", "may cost more than"},
		{strings.Repeat("context.name.matches('[ab]+$') || ", 90) + "true", "may cost more than 10000 units"},
		{"context.name.matches('.{500}')", "the pattern has 502 instructions, 128 at most"},
		{"context.name.matches('" + strings.Repeat("a", 257) + "')", "a pattern has at most 256 bytes"},
		{"context.name.matches(identity.name)", "a pattern must be a constant"},
	}
	for _, tt := range tests {
		_, err := Compile(tt.text)
		var f *fault.Error
		if !errors.As(err, &f) || !strings.Contains(f.Detail, tt.detail) {
			t.Errorf("%.80q: %v", tt.text, err)
		}
	}
}

// TestCostAtRunTime evaluates rules that are cheap with inputs of the sizes that Compile estimates with, and not with these.
func TestCostAtRunTime(t *testing.T) {
	many := &Input{Context: Context{Name: strings.Repeat("a", 1<<20), Frameworks: make([]string, 100_000)}}
	for i := range many.Context.Frameworks {
		many.Context.Frameworks[i] = "x"
	}
	for _, text := range []string{
		"context.frameworks.all(a, context.frameworks.all(b, a == b))",
		"context.frameworks.map(f, f).size() > 0",
		"context.frameworks.filter(f, f != 'y').size() > 0",
		"context.frameworks.exists_one(f, f == 'y')",
		"'y' in context.frameworks",
		"context.name.matches('(a|b)*c')",
		"matches(context.name, '(a|b)*c')",
		"context.name + context.name == 'a'",
		"context.name.contains('aaaaaaaaaaaaaaaaaaaaaab')",
	} {
		r := compiled(t, text)
		pass, err := r.Eval(many)
		var f *fault.Error
		if pass || !errors.As(err, &f) || f.Kind != fault.Forbidden || f.Detail != "the rule has no answer: it costs too much" {
			t.Errorf("%s: %v, %v", text, pass, err)
		}
		if _, err := r.Eval(sample()); err != nil {
			t.Errorf("%s of a usual input: %v", text, err)
		}
	}
}

// TestCostOfPattern: a short pattern on a long text costs what the text is long, and not what the pattern is.
func TestCostOfPattern(t *testing.T) {
	for size, costly := range map[int]bool{CostLimit - 100: false, CostLimit: true} {
		in := &Input{Context: Context{Name: strings.Repeat("a", size)}}
		for _, text := range []string{"context.name.matches('.+a')", "matches(context.name, '.+a')"} {
			pass, err := compiled(t, text).Eval(in)
			if pass == costly || errors.Is(err, fault.Forbidden) != costly {
				t.Errorf("%s of %d characters: %v, %v", text, size, pass, err)
			}
		}
	}
}
