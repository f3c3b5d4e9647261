package appliance_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// example is one worked example of the technical reference: a fenced block whose first line gives its kind, which decides
// how it is recomputed, and whose other lines are
//
//	name = hex 00ff       bytes; further lines, indented by two spaces, go on with them
//	name = text user-pii  the bytes of a text, up to the end of the line
//	name = number 1
type example struct {
	kind   string
	fields map[string][]byte // numbers as their digits
	used   map[string]bool
	wrong  []string
}

// examples reads all of them from the document.
func examples(t *testing.T) []*example {
	t.Helper()
	var list []*example
	parts := strings.Split(readDocument(t, reference), "```example\n")
	for _, part := range parts[1:] {
		body, _, closed := strings.Cut(part, "\n```")
		if !closed {
			t.Fatal("an example does not end")
		}
		e, err := parseExample(body)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

func parseExample(body string) (*example, error) {
	lines := strings.Split(body, "\n")
	kind, ok := strings.CutPrefix(lines[0], "kind = ")
	if !ok {
		return nil, fmt.Errorf("an example begins with %q", lines[0])
	}
	e := &example{kind: kind, fields: map[string][]byte{}, used: map[string]bool{}}
	for i := 1; i < len(lines); i++ {
		line := lines[i]
		name, value, ok := strings.Cut(line, " = ")
		form, rest, _ := strings.Cut(value, " ")
		for form == "hex" && i+1 < len(lines) && strings.HasPrefix(lines[i+1], "  ") {
			i++
			rest += strings.TrimSpace(lines[i])
		}
		b := []byte(rest)
		var err error
		if form == "hex" {
			b, err = hex.DecodeString(rest)
		}
		if _, twice := e.fields[name]; !ok || twice || err != nil || form != "hex" && form != "text" && form != "number" {
			return nil, fmt.Errorf("%s: line %q", kind, line)
		}
		e.fields[name] = b
	}
	return e, nil
}

func (e *example) has(name string) bool {
	_, ok := e.fields[name]
	return ok
}

func (e *example) bytes(name string) []byte {
	if !e.has(name) {
		panic(e.kind + " has no " + name)
	}
	e.used[name] = true
	return e.fields[name]
}

// optional is bytes, and nil for a field that the example does not have.
func (e *example) optional(name string) []byte {
	if !e.has(name) {
		return nil
	}
	return e.bytes(name)
}

func (e *example) text(name string) string { return string(e.bytes(name)) }

func (e *example) number(name string) int { return must(strconv.Atoi(e.text(name))) }

// want compares what was computed with what the document shows.
func (e *example) want(name string, got []byte) {
	if shown := e.bytes(name); !bytes.Equal(shown, got) {
		e.wrong = append(e.wrong, fmt.Sprintf("%s is\n%x, the document has\n%x", name, got, shown))
	}
}

// run recomputes the example and returns what is wrong with it.
func (e *example) run(read func(*example)) (wrong []string) {
	defer func() {
		if p := recover(); p != nil {
			wrong = append(wrong, fmt.Sprint(p))
		}
	}()
	e.used, e.wrong = map[string]bool{}, nil
	read(e)
	for name := range e.fields {
		if !e.used[name] {
			e.wrong = append(e.wrong, "nothing depends on "+name)
		}
	}
	return e.wrong
}

// must stops the recomputation of an example.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestReferenceExamples recomputes every worked example from the text of the document, with the standard library alone.
func TestReferenceExamples(t *testing.T) {
	done := map[string]bool{}
	for _, e := range examples(t) {
		read, known := readings[e.kind]
		if !known {
			t.Errorf("nothing reads examples of kind %q", e.kind)
			continue
		}
		done[e.kind] = true
		for _, wrong := range e.run(read) {
			t.Errorf("%s: %s", e.kind, wrong)
		}
	}
	for kind := range readings {
		if !done[kind] {
			t.Errorf("the document has no example of kind %q", kind)
		}
	}
}

// TestReferenceExamplesCanFail changes each field of each example: one that no longer adds up is found.
func TestReferenceExamplesCanFail(t *testing.T) {
	for _, e := range examples(t) {
		if e.kind == "password-string" { // a second for each field
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(e.fields)) {
			changed := &example{kind: e.kind, fields: maps.Clone(e.fields)}
			b := append(bytes.Clone(e.fields[name]), 0)
			if last := len(b) - 2; last >= 0 {
				b = b[:last+1]
				b[last] ^= 1
			}
			changed.fields[name] = b
			if len(changed.run(readings[e.kind])) == 0 {
				t.Errorf("%s: another %s is not noticed", e.kind, name)
			}
		}
	}
}

// TestReferenceExamplesAreTheProducts gives what the document shows to the packages of the product.
func TestReferenceExamplesAreTheProducts(t *testing.T) {
	done := map[string]bool{}
	for _, e := range examples(t) {
		check := products[e.kind]
		if check == nil {
			continue
		}
		done[e.kind] = true
		e.wrong = nil
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("%s: %v", e.kind, p)
				}
			}()
			check(e)
		}()
		for _, wrong := range e.wrong {
			t.Errorf("%s: %s", e.kind, wrong)
		}
	}
	if len(done) != len(products) {
		t.Errorf("%d kinds of example for %d checks", len(done), len(products))
	}
}
