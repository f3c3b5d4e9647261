package command

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"cryptoserve/engine/directory"
)

var update = flag.Bool("update", false, "write the golden files of commands that have none; existing ones never change")

func fill(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }

func goldenPath(t Type, name string) string {
	return filepath.Join("testdata", fmt.Sprintf("v%d-%02d-%s.hex", Version, t, name))
}

// TestGolden holds the bytes of every command. A golden file may be added, never changed: the logs that were written with
// it still exist.
func TestGolden(t *testing.T) {
	for typ := TypeUnknown + 1; typ < typeEnd; typ++ {
		c := examples[typ]
		if c == nil || c.Type() != typ {
			t.Errorf("type %d has no example, or the example of another type", typ)
			continue
		}
		t.Run(fmt.Sprintf("%T", c), func(t *testing.T) {
			if reflect.ValueOf(c).IsZero() {
				t.Fatal("the example is empty")
			}
			checkGolden(t, c, goldenPath(typ, reflect.TypeOf(c).Name()))
		})
	}
	for name, c := range wider {
		t.Run(name, func(t *testing.T) { checkGolden(t, c, goldenPath(c.Type(), name)) })
	}
}

func checkGolden(t *testing.T, c Command, path string) {
	t.Helper()
	data, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && *update {
		text = []byte(hex.EncodeToString(data) + "\n")
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		t.Fatalf("%v; run the test with -update to write it", err)
	}
	golden, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, golden) {
		t.Fatalf("the encoding changed:\n got %x\nwant %x", data, golden)
	}
	back, err := Decode(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, c) {
		t.Fatalf("decoded %+v", back)
	}
}

// TestExamplesAreFull: a field that no example has could change its number unseen. The examples before Guarded were written
// when records had fewer fields; wider has those.
func TestExamplesAreFull(t *testing.T) {
	full := examples
	for _, c := range wider {
		full[c.Type()] = c
	}
	for typ := TypeGuarded; typ < typeEnd; typ++ {
		if full[typ] == nil {
			t.Errorf("type %d has no example", typ)
			continue
		}
		if missing := emptyField(reflect.ValueOf(full[typ])); missing != "" {
			t.Errorf("%T: %s is empty", full[typ], missing)
		}
	}
	for name, c := range wider {
		if missing := emptyField(reflect.ValueOf(c).Field(0)); missing != "" {
			t.Errorf("%s: %s is empty", name, missing)
		}
	}
}

// emptyField returns the path of a field that is zero; of a list only the first element counts.
func emptyField(v reflect.Value) string {
	if v.IsZero() {
		return v.Type().String()
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if missing := emptyField(v.Field(i)); missing != "" {
				return v.Type().Field(i).Name + "." + missing
			}
		}
	case reflect.Pointer:
		return emptyField(v.Elem())
	case reflect.Slice:
		if v.Len() == 0 {
			return v.Type().String()
		}
		return emptyField(v.Index(0))
	default:
	}
	return ""
}

func TestEveryGoldenFileStillDecodes(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.hex"))
	if err != nil {
		t.Fatal(err)
	}
	if want := int(typeEnd) - 1 + len(wider); len(files) < want {
		t.Fatalf("%d golden files for %d examples", len(files), want)
	}
	for _, f := range files {
		if _, err := Decode(readHex(t, f)); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func readHex(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEveryTypeHasADecoder(t *testing.T) {
	for typ := TypeUnknown + 1; typ < typeEnd; typ++ {
		if decoders[typ] == nil {
			t.Errorf("type %d has no decoder", typ)
		}
	}
}

func TestPointerEncodesAsValue(t *testing.T) {
	c := LeaseUsage{Key: "k", Count: 1}
	a, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Encode(&c)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Fatal("a pointer encodes differently")
	}
}

type strangeCommand struct{ t Type }

func (s strangeCommand) Type() Type { return s.t }

func TestEncodeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		command Command
		want    error
	}{
		"nothing":       {nil, ErrMalformed},
		"a nil pointer": {(*LeaseUsage)(nil), ErrMalformed},
		"type 0":        {strangeCommand{0}, ErrUnknown},
		"a later type":  {strangeCommand{typeEnd}, ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Encode(c.command); !errors.Is(err, c.want) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// raw encodes any map without the checks of Encode.
func raw(t testing.TB, v any) []byte {
	t.Helper()
	data, err := Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDecodeRefuses(t *testing.T) {
	body := raw(t, LeaseUsage{Key: "k", Count: 1})
	good := raw(t, envelope{1, uint64(TypeLeaseUsage), body})
	if _, err := Decode(good); err != nil {
		t.Fatal(err)
	}
	lease := func(b []byte) []byte { return raw(t, envelope{1, uint64(TypeLeaseUsage), b}) }
	for name, c := range map[string]struct {
		data []byte
		want error
		text string
	}{
		"nothing":                   {nil, ErrMalformed, ""},
		"cut":                       {good[:len(good)-1], ErrMalformed, ""},
		"trailing byte":             {append(bytes.Clone(good), 0), ErrMalformed, ""},
		"a later version":           {raw(t, envelope{2, 1, nil}), ErrUnknown, "version 2 and type 1"},
		"version 0":                 {raw(t, envelope{0, 1, []byte{}}), ErrUnknown, "version 0"},
		"a later type":              {raw(t, envelope{1, uint64(typeEnd), []byte{}}), ErrUnknown, fmt.Sprintf("type %d", typeEnd)},
		"a type beyond 16 bits":     {raw(t, envelope{1, 1 << 40, []byte{}}), ErrUnknown, "newer program"},
		"type 0":                    {raw(t, envelope{1, 0, []byte{}}), ErrUnknown, "type 0"},
		"unknown envelope field":    {raw(t, map[int]any{1: 1, 2: 10, 3: body, 4: 1}), ErrMalformed, ""},
		"missing envelope field":    {raw(t, map[int]any{1: 1, 3: body}), ErrMalformed, ""},
		"wrong type of field":       {raw(t, map[int]any{1: "1", 2: 10, 3: body}), ErrMalformed, ""},
		"duplicate key":             {[]byte{0xa4, 1, 1, 1, 1, 2, 10, 3, 0x40}, ErrMalformed, ""},
		"keys out of order":         {append([]byte{0xa3, 2, 10, 1, 1, 3}, good[len(good)-len(body)-1:]...), ErrMalformed, ""},
		"indefinite length":         {append(append([]byte{0xbf}, good[1:]...), 0xff), ErrMalformed, ""},
		"tag":                       {append([]byte{0xd9, 0xd9, 0xf7}, good...), ErrMalformed, ""},
		"number longer than needed": {append([]byte{0xa3, 1, 0x18, 1}, good[3:]...), ErrMalformed, ""},
		"unknown body field":        {lease(raw(t, map[int]any{1: "k", 2: 1, 3: 1})), ErrMalformed, "type 10"},
		"missing body field":        {lease(raw(t, map[int]any{1: "k"})), ErrMalformed, ""},
		"body key as text":          {lease(raw(t, map[string]any{"Key": "k", "Count": 1})), ErrMalformed, ""},
		"negative count":            {lease(raw(t, map[int]any{1: "k", 2: -1})), ErrMalformed, ""},
		"invalid UTF-8":             {lease([]byte{0xa2, 1, 0x61, 0xff, 2, 1}), ErrMalformed, ""},
		"empty body":                {lease([]byte{}), ErrMalformed, ""},
		"short array in a hash": {raw(t, envelope{1, uint64(TypeRotateRefresh),
			raw(t, map[int]any{1: "f", 2: fill(31, 1), 3: fill(32, 1), 4: 1, 5: 2})}), ErrMalformed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Decode(c.data)
			if !errors.Is(err, c.want) || got != nil {
				t.Fatalf("got %v, %v", got, err)
			}
			if !strings.Contains(err.Error(), c.text) {
				t.Fatalf("%q does not say %q", err, c.text)
			}
		})
	}
}

// TestNestedCommands: what a command holds is read with it. What this program does not know stops the node there, and no
// chain of commands is followed.
func TestNestedCommands(t *testing.T) {
	guard := func(c []byte) []byte { return raw(t, envelope{1, uint64(TypeGuarded), raw(t, Guarded{Command: c})}) }
	request := func(c []byte) []byte {
		return raw(t, envelope{1, uint64(TypeRequestApproval), raw(t, RequestApproval{directory.Approval{Command: c}})})
	}
	lease := inside(LeaseUsage{Key: "k", Count: 1})
	later := raw(t, envelope{1, uint64(typeEnd), []byte{0xa0}})
	laterVersion := raw(t, envelope{2, 1, []byte{0xa0}})
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"guarded":                              {guard(lease), nil},
		"request":                              {request(lease), nil},
		"guarded request":                      {guard(request(lease)), nil},
		"guarded in guarded":                   {guard(guard(lease)), ErrMalformed},
		"guarded in a request":                 {request(guard(lease)), ErrMalformed},
		"request in a request":                 {request(request(lease)), ErrMalformed},
		"guarded in a guarded request":         {guard(request(guard(lease))), ErrMalformed},
		"guarded: nothing":                     {guard(nil), ErrMalformed},
		"guarded: empty":                       {guard([]byte{}), ErrMalformed},
		"guarded: cut":                         {guard(lease[:len(lease)-1]), ErrMalformed},
		"guarded: trailing byte":               {guard(append(bytes.Clone(lease), 0)), ErrMalformed},
		"guarded: unknown type":                {guard(later), ErrUnknown},
		"guarded: later version":               {guard(laterVersion), ErrUnknown},
		"request: nothing":                     {request(nil), ErrMalformed},
		"request: cut":                         {request(lease[:len(lease)-1]), ErrMalformed},
		"request: unknown type":                {request(later), ErrUnknown},
		"guarded request: unknown type":        {guard(request(later)), ErrUnknown},
		"guarded request: malformed":           {guard(request([]byte{0xff})), ErrMalformed},
		"guarded in guarded, unknown inside":   {guard(guard(later)), ErrMalformed},
		"request in a request, unknown inside": {request(request(later)), ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Decode(c.data)
			if !errors.Is(err, c.want) || (got == nil) != (c.want != nil) {
				t.Fatalf("%v, %v, want %v", got, err, c.want)
			}
		})
	}
}

// TestNestingIsBounded: a chain is refused at its second link, not at its last. The commands below that are never read, so
// what is wrong with them does not show.
func TestNestingIsBounded(t *testing.T) {
	for name, link := range map[string]func([]byte) Command{
		"guarded": func(c []byte) Command { return Guarded{Command: c} },
		"request": func(c []byte) Command { return RequestApproval{directory.Approval{Command: c}} },
	} {
		t.Run(name, func(t *testing.T) {
			chain := raw(t, envelope{1, uint64(typeEnd), []byte{0xa0}})
			for range 500 {
				chain = inside(link(chain))
			}
			if _, err := Decode(chain); !errors.Is(err, ErrMalformed) || strings.Count(err.Error(), "in one of type") != 1 ||
				strings.Count(err.Error(), ": type ") > 1 {
				t.Fatal(err)
			}
		})
	}
}

func TestFirstReadsASequence(t *testing.T) {
	data := append(raw(t, LeaseUsage{Key: "a", Count: 1}), raw(t, LeaseUsage{Key: "b", Count: 2})...)
	var a, b LeaseUsage
	rest, err := First(data, &a)
	if err != nil {
		t.Fatal(err)
	}
	rest, err = First(rest, &b)
	if err != nil || len(rest) != 0 || a.Key != "a" || b.Count != 2 {
		t.Fatalf("%+v %+v, %d bytes left, %v", a, b, len(rest), err)
	}
	if _, err := First(nil, &LeaseUsage{}); !errors.Is(err, ErrMalformed) {
		t.Fatalf("the end of the sequence: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.hex"))
	if err != nil {
		f.Fatal(err)
	}
	if len(files) < int(typeEnd)-1+len(wider) {
		f.Fatalf("only %d seeds", len(files))
	}
	for _, path := range files {
		f.Add(readHex(f, path))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Decode(data)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknown) {
				t.Fatalf("an error of neither kind: %v", err)
			}
			return
		}
		again, err := Encode(c)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("decoded what encodes otherwise: %x, %v", again, err)
		}
	})
}

func TestRawMessageIsNotACommand(t *testing.T) {
	var v cbor.RawMessage
	if err := Unmarshal([]byte{0xbf, 0xff}, &v); !errors.Is(err, ErrMalformed) {
		t.Fatalf("an indefinite map passed: %v", err)
	}
}

func BenchmarkEncode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(examples[TypeCreateContext]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	data, err := Encode(examples[TypeCreateContext])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}
