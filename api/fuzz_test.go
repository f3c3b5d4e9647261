package api

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"cryptoserve/api/wire"
	"cryptoserve/engine"
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

// batchReference reads a batch to encrypt by other means, as reference does a single request.
func batchReference(body []byte) (want wire.BatchEncryptRequest, ok bool) {
	type item struct {
		Reference      *string `json:"reference"`
		Plaintext      *string `json:"plaintext"`
		AssociatedData *string `json:"associated_data"`
	}
	var in struct {
		Context   *string `json:"context"`
		Usage     *string `json:"usage"`
		Algorithm *string `json:"algorithm"`
		Items     *[]item `json:"items"`
	}
	var raw map[string]any
	if json.Unmarshal(body, &in, json.RejectUnknownMembers(true)) != nil || in.Context == nil || in.Items == nil ||
		json.Unmarshal(body, &raw) != nil || holdsNull(raw) {
		return want, false
	}
	ok = true
	text := func(s *string, most int) string {
		if s == nil {
			return ""
		}
		ok = ok && len(*s) <= most
		return *s
	}
	decode := func(s *string) []byte {
		b, err := base64.StdEncoding.DecodeString(text(s, len(body)))
		ok = ok && err == nil && base64.StdEncoding.EncodeToString(b) == text(s, len(body))
		return b
	}
	want = wire.BatchEncryptRequest{Context: text(in.Context, 64), Usage: text(in.Usage, 64), Algorithm: text(in.Algorithm, 64)}
	for _, one := range *in.Items {
		ok = ok && one.Plaintext != nil
		want.Items = append(want.Items, wire.BatchEncryptItem{
			Reference: text(one.Reference, 128), Plaintext: decode(one.Plaintext), AssociatedData: decode(one.AssociatedData),
		})
	}
	return want, ok && len(want.Items) <= engine.MaxBatch
}

func holdsNull(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		for _, e := range v {
			if holdsNull(e) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, holdsNull)
	}
	return false
}

// FuzzBatch compares the decoder of batches with the reference, on a decoder that was used before; and the decoder of wire
// types with both.
func FuzzBatch(f *testing.F) {
	for _, seed := range []string{
		`{"context":"a","items":[{"plaintext":"aGVsbG8="}]}`,
		`{"items":[{"plaintext":"","associated_data":"AA==","reference":"r"},{"plaintext":"AA=="}],"context":"a","usage":"u","algorithm":"x"}`,
		`{"context":"a","items":[{"plaintext":"","reference":"\u0000\ud83d\ude00\/"}]}`,
		`{"context":"a","items":[]}`, `{"context":"a","items":{}}`, `{"context":"a","items":[[]]}`, `{"context":"a","items":[{}]}`,
		`{"context":"a","items":[null]}`, `{"context":"a","items":[{"plaintext":null}]}`, `{"context":"a","items":[{"plaintext":"AB=="}]}`,
		`{"context":"a","items":[{"plaintext":"","plaintext":""}]}`, `{"context":"a","items":[],"items":[]}`, `{"context":"a"}`,
		`{"context":"a","items":[{"plaintext":""}`, `{"context":"a","items":[{"plaintext":""},]}`, `{"items":[{"plaintext":""} {}]}`,
		`{"context":"a","items":[` + strings.Repeat(`{"plaintext":""},`, 1000) + `{"plaintext":""}]}`,
	} {
		f.Add([]byte(seed))
	}
	var d, generic decoder
	f.Fuzz(func(t *testing.T, body []byte) {
		want, good := batchReference(body)
		err := d.object(bytes.Clone(body), batchEncryptFields)
		defer d.wipe()
		if (err == nil) != good {
			t.Fatalf("%q: %v, the reference says %v", body, err, good)
		}
		var wired wire.BatchEncryptRequest
		wireErr := generic.into(bytes.Clone(body), &wired)
		defer generic.wipe()
		if err != nil {
			if kind := fault.Of(err); kind != fault.Malformed && kind != fault.TooLarge {
				t.Fatalf("%q: %v", body, err)
			}
			// References are longer than the names of things that into takes, and it does not count.
			if wireErr == nil && fault.Of(err) == fault.Malformed {
				t.Fatalf("%q: %v, and yet into takes it", body, err)
			}
			return
		}
		if wireErr != nil && !strings.Contains(fmt.Sprint(problemOf(wireErr).Errors), "is longer than") {
			t.Fatalf("%q: into says %v", body, wireErr)
		}
		v := &d.values
		if v[batchContext].text != want.Context || v[batchUsage].text != want.Usage || v[batchAlgorithm].text != want.Algorithm ||
			len(d.batch) != len(want.Items) || len(d.references) != len(want.Items) {
			t.Fatalf("%q was read as %+v with %d items", body, v, len(d.batch))
		}
		for i, item := range want.Items {
			got := &d.batch[i]
			if !bytes.Equal(got.Data, item.Plaintext) || !bytes.Equal(got.AssociatedData, item.AssociatedData) ||
				string(d.references[i]) != item.Reference {
				t.Fatalf("%q: item %d was read as %+v, %q", body, i, got, d.references[i])
			}
		}
		if wireErr == nil && !reflect.DeepEqual(clean(wired), clean(want)) {
			t.Fatalf("%q: into read %+v, want %+v", body, wired, want)
		}
	})
}

// clean makes absent and empty alike.
func clean(r wire.BatchEncryptRequest) wire.BatchEncryptRequest {
	list := make([]wire.BatchEncryptItem, 0, len(r.Items))
	for _, item := range r.Items {
		item.Plaintext, item.AssociatedData = append([]byte{}, item.Plaintext...), append([]byte{}, item.AssociatedData...)
		list = append(list, item)
	}
	r.Items = list
	return r
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

// FuzzRange: whatever the header says, a range is refused or has the bytes that it names.
func FuzzRange(f *testing.F) {
	for _, seed := range []string{
		"bytes=0-", "bytes=0-0", "Bytes=1-2", "bytes=2-1", "bytes=-1", "bytes=", "bytes", "=", "-", "", "bytes=1-2,3-4", "bytes=+1-",
		"bytes=9223372036854775806-9223372036854775807", "bytes=99999999999999999999-99999999999999999999", "bytes=\u0661-",
	} {
		f.Add(seed)
	}
	form := regexp.MustCompile(`^[Bb][Yy][Tt][Ee][Ss]=([0-9]+)-([0-9]*)$`)
	f.Fuzz(func(t *testing.T, value string) {
		part, err := rangeOf([]string{value})
		m := form.FindStringSubmatch(value)
		if m == nil || (m[2] != "" && number(m[2]).Cmp(number(m[1])) < 0 && number(m[1]).IsInt64()) {
			if err == nil || fault.Of(err) != fault.Malformed {
				t.Fatalf("%q: %+v, %v", value, part, err)
			}
			return
		}
		if err != nil && number(m[1]).IsInt64() {
			t.Fatalf("%q: %v", value, err)
		}
		if err != nil {
			return // beyond any plaintext
		}
		if part.From < 0 || part.To <= part.From {
			t.Fatalf("%q became %+v", value, part)
		}
		if first := number(m[1]); part.From < math.MaxInt64-1 && first.Cmp(big.NewInt(part.From)) != 0 {
			t.Fatalf("%q begins at %d", value, part.From)
		}
		if part.To < math.MaxInt64 && (m[2] == "" || number(m[2]).Cmp(big.NewInt(part.To-1)) != 0) {
			t.Fatalf("%q ends before %d", value, part.To)
		}
	})
}

func number(digits string) *big.Int {
	n, _ := new(big.Int).SetString(digits, 10)
	return n
}
