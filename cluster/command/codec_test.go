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

	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
)

var update = flag.Bool("update", false, "write the golden files of commands that have none; existing ones never change")

// examples has one fully filled command of each type: the golden files are their encodings.
var examples = [typeEnd]Command{
	TypeCreateCluster: CreateCluster{directory.Cluster{
		ID: "cls_0123456789abcdef", CreatedAt: 1760000000000, MasterKCV: fill(8, 1), CACertificate: fill(40, 2), CAKey: fill(48, 3),
	}},
	TypeCreateTenant: CreateTenant{directory.Tenant{
		ID: "ten_0123456789abcdef", Name: "example", Status: directory.Enabled, CreatedAt: 1760000000001,
	}},
	TypeCreateContext: CreateContext{
		Context: directory.Context{
			Tenant: "ten_0123456789abcdef", Name: "user-pii", Description: "personal data", Algorithm: algs.AES256GCM, Format: 4,
			Derivation: directory.Salted, Status: directory.Enabled, ActiveKey: "key_user-pii_0123456789abcdef", Versions: 1,
			CreatedAt: 1760000000002,
		},
		Version: keys.Version{
			ID: "key_user-pii_0123456789abcdef", Tenant: "ten_0123456789abcdef", Context: "user-pii", Number: 1, State: keys.Active,
			Algorithm: algs.AES256GCM, Bits: 256, Salt: fill(32, 4), CreatedAt: 1760000000002,
		},
	},
	TypeRotateContext: RotateContext{keys.Version{
		ID: "key_user-pii_fedcba9876543210", Tenant: "ten_0123456789abcdef", Context: "user-pii", Number: 2, State: keys.Active,
		Algorithm: algs.AES256GCM, Bits: 256, Salt: fill(32, 5), CreatedAt: 1760000000003, DeactivatedAt: 1, Leased: 2,
	}},
	TypeCreateApplication: CreateApplication{directory.Application{
		ID: "app_demo_0123456789abcdef", Tenant: "ten_0123456789abcdef", Name: "demo", Team: "team", Environment: "production",
		Status: directory.Enabled, Grants: []directory.Grant{{Context: "user-pii", Encrypt: true}, {Context: "general", Decrypt: true}},
		KeyID: "kid", PublicKey: fill(32, 6), SealedKey: fill(93, 7), CreatedAt: 1760000000004,
	}},
	TypeCreateUser: CreateUser{directory.User{
		ID: "usr_0123456789abcdef", Tenant: "ten_0123456789abcdef", Name: "owner",
		Roles: []directory.Role{directory.Owner, directory.Operator}, Status: directory.Enabled, CreatedAt: 1760000000005,
	}},
	TypeCreateSession: CreateSession{directory.Session{
		Hash: [32]byte(fill(32, 8)), User: "usr_0123456789abcdef", Tenant: "ten_0123456789abcdef", CreatedAt: 1760000000006,
		ExpiresAt: 1760000600006,
	}},
	TypeCreateRefresh: CreateRefresh{directory.RefreshFamily{
		ID: "ref_0123456789abcdef", Tenant: "ten_0123456789abcdef", Application: "app_demo_0123456789abcdef",
		Hash: [32]byte(fill(32, 9)), Generation: 3, Revoked: true, CreatedAt: 1760000000007, ExpiresAt: 1762592000007,
	}},
	TypeRotateRefresh: RotateRefresh{
		Family: "ref_0123456789abcdef", Presented: [32]byte(fill(32, 10)), Next: [32]byte(fill(32, 11)), At: 1760000000008,
		ExpiresAt: 1762592000008,
	},
	TypeLeaseUsage: LeaseUsage{Key: "key_user-pii_0123456789abcdef", Count: 1 << 20},
	TypeCreateKey: CreateKey{
		Object: keys.Object{
			Tenant: "ten_0123456789abcdef", Name: "invoices", Context: "user-pii", Purpose: keys.PurposeSign,
			Algorithm: algs.Ed25519, Protection: keys.Host, Disabled: true, ActiveKey: "key_user-pii_00112233445566aa", Versions: 1,
			CreatedAt: 1760000000009, Description: "signs invoices",
		},
		Version: keys.Version{
			ID: "key_user-pii_00112233445566aa", Tenant: "ten_0123456789abcdef", Context: "user-pii", Number: 1, State: keys.Active,
			Algorithm: algs.Ed25519, CreatedAt: 1760000000009, Object: "invoices", Public: fill(32, 12), Sealed: fill(93, 13),
			Imported: true,
		},
		Import: "import_0123456789abcdef",
	},
	TypeRotateKey: RotateKey{
		Version: keys.Version{
			ID: "key_user-pii_00112233445566bb", Tenant: "ten_0123456789abcdef", Context: "user-pii", Number: 2, State: keys.Active,
			Algorithm: algs.ECDSAP256, CreatedAt: 1760000000010, Object: "invoices", Public: fill(91, 14), Wrapped: fill(160, 15),
		},
		Import: "import_0123456789abcdef",
	},
	TypeSetKeyDisabled: SetKeyDisabled{Tenant: "ten_0123456789abcdef", Name: "invoices", Disabled: true},
	TypeCreateImport: CreateImport{keys.Import{
		ID: "import_0123456789abcdef", Tenant: "ten_0123456789abcdef", Protection: keys.Token, Public: fill(50, 16),
		Sealed: fill(60, 17), Wrapped: fill(70, 18), Hash: algs.SHA256, CreatedAt: 1760000000011, ExpiresAt: 1760003600011,
	}},
	TypeImportLegacy: ImportLegacy{
		Tenant: "ten_0123456789abcdef", Import: "import_0123456789abcdef",
		Masters: []keys.LegacyMaster{{
			Number: 1, Tenant: "ten_0123456789abcdef", KCV: fill(8, 19), Wrapped: fill(40, 20), CreatedAt: 1760000000012,
		}},
		Keys: []keys.LegacyKey{{
			Tenant: "ten_0123456789abcdef", KeyID: "key_user-pii_a1b2c3d4", Context: "user-pii", Master: 1,
			OriginalTenant: "11111111-1111-4111-8111-111111111111", Number: 1, State: keys.Deactivated, CreatedAt: 1760000000012,
			Algorithm: algs.AES256GCMMLKEM768, Sealed: fill(90, 21),
		}},
	},
}

func fill(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }

func goldenPath(t Type) string {
	return filepath.Join("testdata", fmt.Sprintf("v%d-%02d-%s.hex", Version, t, reflect.TypeOf(examples[t]).Name()))
}

// TestGolden holds the bytes of every command. A golden file may be added, never changed: the logs that were written with
// it still exist.
func TestGolden(t *testing.T) {
	for typ := TypeUnknown + 1; typ < typeEnd; typ++ {
		c := examples[typ]
		if c == nil || c.Type() != typ {
			t.Fatalf("type %d has no example, or the example of another type", typ)
		}
		t.Run(fmt.Sprintf("%T", c), func(t *testing.T) {
			if reflect.ValueOf(c).IsZero() {
				t.Fatal("the example is empty")
			}
			data, err := Encode(c)
			if err != nil {
				t.Fatal(err)
			}
			path := goldenPath(typ)
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
		})
	}
}

func TestEveryGoldenFileStillDecodes(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.hex"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < int(typeEnd)-1 {
		t.Fatalf("%d golden files for %d types", len(files), typeEnd-1)
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
	if len(files) < int(typeEnd)-1 {
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
