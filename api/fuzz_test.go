package api

import (
	"bytes"
	"encoding/base64"
	"testing"

	"github.com/go-json-experiment/json"

	"cryptoserve/api/wire"
	"cryptoserve/engine/fault"
)

// reference reads an encrypt body by other means: the strict decoder of the JSON library into text fields, and a
// comparison of base64 with its own encoding.
func reference(body []byte) (want wire.EncryptRequest, ok bool) {
	var in struct {
		Plaintext      *string `json:"plaintext"`
		Context        *string `json:"context"`
		AssociatedData *string `json:"associated_data"`
		Usage          *string `json:"usage"`
		Algorithm      *string `json:"algorithm"`
	}
	if json.Unmarshal(body, &in, json.RejectUnknownMembers(true)) != nil || in.Plaintext == nil || in.Context == nil {
		return want, false
	}
	// A pointer cannot tell null from absent; the names cannot hide in an escape once the members are read raw.
	var raw map[string]any
	if json.Unmarshal(body, &raw) != nil {
		return want, false
	}
	for _, v := range raw {
		if v == nil {
			return want, false
		}
	}
	decode := func(s *string) []byte {
		if s == nil {
			return nil
		}
		b, err := base64.StdEncoding.DecodeString(*s)
		ok = ok && err == nil && base64.StdEncoding.EncodeToString(b) == *s
		return b
	}
	str := func(s *string, most int) string {
		if s == nil {
			return ""
		}
		ok = ok && len(*s) <= most
		return *s
	}
	ok = true
	want = wire.EncryptRequest{
		Plaintext: decode(in.Plaintext), Context: str(in.Context, 64), AssociatedData: decode(in.AssociatedData),
		Usage: str(in.Usage, 64), Algorithm: str(in.Algorithm, 64),
	}
	return want, ok
}

// FuzzDecode compares the decoder with the reference, on a decoder that was used before.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"plaintext":"aGVsbG8=","context":"user-pii"}`,
		`{"plaintext":"","context":"a","associated_data":"AA==","usage":"u","algorithm":"x"}`,
		`{"pl\u0061intext":"\/\/\/\/","context":"\u00e9"}`,
		`{"plaintext":"aGVs\nbG8=","context":"a"}`,
		`{"plaintext":"AB==","context":"a"}`,
		`{"plaintext":"","plaintext":"","context":"a"}`,
		`{"plaintext":null,"context":"a"}`,
		`{"plaintext":"","context":"a"} {}`,
		`{"plaintext":[[[]]],"context":"a"}`,
		`{"x":1}`, `[]`, `{`, ` `, ``, `{"plaintext":"\ud800","context":"a"}`,
	} {
		f.Add([]byte(seed))
	}
	var d decoder
	f.Fuzz(func(t *testing.T, body []byte) {
		want, good := reference(body)
		err := d.object(bytes.Clone(body), encryptFields)
		defer d.wipe()
		if (err == nil) != good {
			t.Fatalf("%q: %v, the reference says %v", body, err, good)
		}
		if err != nil {
			if fault.Of(err) != fault.Malformed {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		v := &d.values
		if !bytes.Equal(v[dataField].bytes, want.Plaintext) || v[contextField].text != want.Context ||
			!bytes.Equal(v[associatedDataField].bytes, want.AssociatedData) || v[usageField].text != want.Usage ||
			v[algorithmField].text != want.Algorithm {
			t.Fatalf("%q was read as %+v", body, v)
		}
	})
}

// FuzzAnswer: whatever the engine says in its strings, the answer is JSON that says the same.
func FuzzAnswer(f *testing.F) {
	f.Add("AES-256-GCM", "warning")
	f.Add(`"`, "\\\x00\u2028é")
	f.Fuzz(func(t *testing.T, algorithm, warning string) {
		out := appendQuoted(appendQuoted([]byte(`[`), algorithm), "")
		out = append(out[:len(out)-2], ',')
		out = append(appendQuoted(out, warning), ']')
		var got [2]string
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if want := [2]string{string([]rune(algorithm)), string([]rune(warning))}; got != want {
			t.Fatalf("%q became %q", want, got)
		}
	})
}
