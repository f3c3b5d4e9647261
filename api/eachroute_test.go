package api_test

import (
	"bytes"

	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"cryptoserve/api"
	"cryptoserve/api/wire"
)

// bodies returns a good body with every field for each route that takes one with fields, by operation.
func bodies(tb testing.TB, f *fixture) map[string]useCase {
	tb.Helper()
	cases := useCases(f)
	maps.DeleteFunc(cases, func(_ string, c useCase) bool { return len(c.text(tb)) <= len("{}") })
	maps.Copy(cases, inviting)
	frame := map[string]any{
		"context": "user-pii", "items": []any{map[string]any{"ciphertext": []byte("c"), "associated_data": []byte("a"), "reference": "r"}},
	}
	for id, c := range map[string]useCase{
		"encrypt": {method: "POST", path: encryptPath, body: map[string]any{
			"plaintext": []byte("p"), "context": "user-pii", "associated_data": []byte("a"), "usage": "at_rest", "algorithm": "x",
		}},
		"decrypt": {method: "POST", path: decryptPath, body: map[string]any{
			"ciphertext": []byte("c"), "context": "user-pii", "associated_data": []byte("a"),
		}},
		"encryptBatch": {method: "POST", path: batchPath + "encrypt", body: map[string]any{
			"context": "user-pii", "usage": "at_rest", "algorithm": "x",
			"items": []any{map[string]any{"plaintext": []byte("p"), "associated_data": []byte("a"), "reference": "r"}},
		}},
		"decryptBatch": {path: batchPath + "decrypt", body: frame},
		"rewrapBatch":  {path: batchPath + "rewrap", body: frame},
		"refresh":      {path: refreshPath, body: map[string]any{"refresh_token": "a.b.c"}},
		"registerApplication": {path: registerPath, body: wire.RegisterRequest{
			AppName: "shop", Team: "t", Environment: "e", Contexts: []string{"user-pii"}, Description: "d",
		}},
	} {
		c.method = http.MethodPost
		cases[id] = c
	}
	for id, o := range accountOperations() {
		if o.method == http.MethodPost {
			cases[id] = useCase{method: o.method, path: o.path, body: jsontext.Value(o.body)}
		}
	}
	return cases
}

const batchPath = "/api/v1/crypto/batch/"

// member is a field of a good body, or of an object in it.
type member struct {
	place  string // as a refusal names it
	schema *jsonschema.Schema
	// with returns the body with another text in the place of the field's name and value.
	with func(instead string) string
	name string
	is   jsontext.Value
}

// membersOf finds the fields of an object and of the objects in it.
func membersOf(tb testing.TB, s *jsonschema.Schema, place string, object jsontext.Value, whole func(string) string) []member {
	tb.Helper()
	for s.Ref != nil {
		s = s.Ref
	}
	var fields map[string]jsontext.Value
	if err := json.Unmarshal(object, &fields); err != nil {
		tb.Fatal(err)
	}
	var list []member
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		with := func(instead string) string {
			parts := []string{}
			for _, other := range slices.Sorted(maps.Keys(fields)) {
				if other != name {
					parts = append(parts, fmt.Sprintf("%q:%s", other, fields[other]))
				}
			}
			if instead != "" {
				parts = append(parts, instead)
			}
			return whole("{" + strings.Join(parts, ",") + "}")
		}
		value, of := fields[name], s.Properties[name]
		if of == nil {
			tb.Fatalf("%s%s is not in the document", place, name)
		}
		list = append(list, member{place + name, of, with, name, value})
		for of.Ref != nil {
			of = of.Ref
		}
		if value.Kind() == '{' {
			inner := func(text string) string { return with(fmt.Sprintf("%q:%s", name, text)) }
			list = append(list, membersOf(tb, of, place+name+".", value, inner)...)
		}
		var elements []jsontext.Value
		if value.Kind() == '[' {
			if err := json.Unmarshal(value, &elements); err != nil {
				tb.Fatal(err)
			}
		}
		if len(elements) > 0 && elements[0].Kind() == '{' {
			inner := func(text string) string { return with(fmt.Sprintf("%q:[%s,%s]", name, elements[0], text)) }
			list = append(list, membersOf(tb, of.Items2020, place+name+"[1].", elements[0], inner)...)
		}
	}
	return list
}

func (m *member) binary() bool {
	s := m.schema
	for s.Ref != nil {
		s = s.Ref
	}
	return s.ContentEncoding != nil
}

// wrong returns texts that stand for no value of the member, and what a refusal says of each.
func (m *member) wrong() map[string]string {
	list := map[string]string{"null": "must not be null"}
	for _, other := range []string{`"s3cret"`, `7`, `true`, `{}`, `[]`} {
		kind := jsontext.Value(other).Kind()
		if kind != m.is.Kind() && (kind != 't' || m.is.Kind() != 'f') {
			list[other] = "must be "
		}
	}
	switch {
	case m.is.Kind() == '0' && strings.Contains(m.place, "budget.") && m.name != "seconds": // longer than all others
		list["1.0"], list["-1"], list["99999999999999999999"] = "an integer", "out of range", "out of range"
	case m.is.Kind() == '0':
		list["1.0"], list["1e2"], list["99999999999"], list["99999999999999999999"] = "an integer", "an integer", "out of range", "out of range"
		if m.name == "master" || m.name == "version" {
			list["-1"] = "out of range"
		}
	case m.binary():
		for _, text := range []string{"czNjcmV", "_-_-", "czNj cmV0", `czNj\r\ncmV0`, "cw==cw==", "c", "czNjcmV0="} {
			list[`"`+text+`"`] = "base64"
		}
	case m.is.Kind() == '"' && m.name != "jws":
		list[`"`+strings.Repeat("s3cret", 10_000)+`"`] = "is longer than"
	case m.is.Kind() == '[':
		list["[null]"], list["[7]"] = "must not be null", "must be "
	}
	return list
}

// TestBadBodiesOfEachRoute: every route is as strict as encrypt, in every field.
func TestBadBodiesOfEachRoute(t *testing.T) {
	f := newFixture(t)
	d := loadDocument(t)
	tried := 0
	for id, c := range bodies(t, f) {
		good := c.text(t)
		schema, err := d.RequestSchema(c.method, c.path)
		if err != nil {
			t.Fatal(err)
		}
		refused := func(body, field, says string) {
			t.Helper()
			tried++
			before := f.engine.reached()
			a := f.do(t, c.method, c.path, body)
			p := a.problem(t)
			if a.StatusCode != http.StatusBadRequest || p.Code != "malformed-request" || f.engine.reached() != before {
				t.Fatalf("%s: %.200s: %s: %s", id, body, a.Status, a.body)
			}
			switch {
			case field == "" && !strings.Contains(p.Detail, says):
				t.Errorf("%s: %.200s: the detail is %q, want it to say %q", id, body, p.Detail, says)
			case field != "" && (len(p.Errors) == 0 || !strings.HasPrefix(p.Errors[0].Field, field) || !strings.Contains(p.Errors[0].Detail, says)):
				t.Errorf("%s: %.200s: the errors are %+v, want that %s %s", id, body, p.Errors, field, says)
			}
			if bytes.Contains(a.body, []byte("s3cret")) || bytes.Contains(a.body, []byte("czNj")) {
				t.Errorf("%s: the answer quotes a value: %s", id, a.body)
			}
			if r := f.engine.lastRefusal(t); r.code != "malformed-request" || r.id != p.RequestID {
				t.Errorf("%s: recorded %+v", id, r)
			}
		}
		for body, says := range map[string]string{
			" \n": "empty", "null": "not a JSON object", `"s3cret"`: "not a JSON object", "[" + good + "]": "not a JSON object", "\ufeff" + good: "not a JSON object",
			good[:len(good)-1]: "ends in the middle", good + "{}": "goes on", good[:len(good)-1] + ",}": "not valid JSON",
			`{"a":` + "\x01": "", "{'a':1}": "not valid JSON", `{"` + "\xff" + `":1}`: "not valid JSON", `{"a":"\ud800"}`: "",
		} {
			switch says {
			case "": // an unknown name comes before what is wrong with its value
				refused(body, "", "a field of the body")
			default:
				refused(body, "", says)
			}
		}
		if !d.BodyMayBeAbsent(c.method, c.path) {
			refused("", "", "empty")
		}
		refused(good[:len(good)-1]+`,"extra":"s3cret"}`, "extra", "not known")
		refused(good[:len(good)-1]+`,"`+strings.Repeat("é", 60)+`":1}`, strings.Repeat("é", 32)+"…", "not known")

		for _, m := range membersOf(t, schema, "", jsontext.Value(good), func(s string) string { return s }) {
			plain := fmt.Sprintf("%q:%s", m.name, m.is)
			if a := f.do(t, c.method, c.path, m.with(plain)); a.StatusCode >= 300 && id != "decrypt" && id != "refresh" {
				t.Errorf("%s: %s: %s: %s", id, m.with(plain), a.Status, a.body)
			}
			refused(m.with(plain+","+plain), m.place, "more than once")
			refused(m.with(plain+fmt.Sprintf(`,"\u%04x%s":%s`, m.name[0], m.name[1:], m.is)), m.place, "more than once")
			upper := strings.ToUpper(m.name)
			refused(m.with(fmt.Sprintf("%q:%s", upper, m.is)), strings.TrimSuffix(m.place, m.name)+upper, "not known")
			for text, says := range m.wrong() {
				body := m.with(fmt.Sprintf("%q:%s", m.name, text))
				refused(body, m.place, says)
				if says != "out of range" && text != "1e2" && text != "1.0" && validates(schema, body) {
					t.Errorf("%s: the document takes %.200s", id, body)
				}
			}
			// What the document requires is required, and nothing else.
			without := m.with("")
			a := f.do(t, c.method, c.path, without)
			if missing := a.StatusCode == http.StatusBadRequest && strings.Contains(string(a.body), `"detail":"is required"`); missing == validates(schema, without) {
				t.Errorf("%s: without %s: %s: %s", id, m.place, a.Status, a.body)
			}
		}
	}
	if tried < 1500 {
		t.Errorf("%d bodies were tried", tried)
	}
}

func validates(s *jsonschema.Schema, body string) bool {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	return err == nil && s.Validate(v) == nil
}

// TestEachRouteRefuses what no route takes: a query, another media type, a body that is too long, and no credential.
func TestEachRouteRefuses(t *testing.T) {
	limits := map[int64]bool{}
	f := newFixture(t, func(c *api.Config) {
		c.Limits.CryptoBodyBytes, c.Limits.ImportBodyBytes, c.Limits.BodyBytes = 300<<10, 200<<10, 100<<10
	})
	names := strings.NewReplacer(":context", "user-pii", ":key", "invoices", ":import", "import_0123456789abcdef",
		":version", keyID, ":tenant", "acme", ":application", appID,
		":join", "join_1", ":member", "node_1", ":user", "user_1", ":session", "abcd000000000000", ":invitation", "invitation_1", ":code", "BCDF-GHJK", ":provider", "corp")
	for _, r := range api.RouteTable() {
		if r.Action == "" {
			continue
		}
		path := names.Replace(r.Path)
		check := func(what string, status int, code, body string, edit ...func(*http.Request)) {
			t.Helper()
			before := f.engine.reached()
			a := f.do(t, r.Method, path, body, edit...)
			if a.StatusCode != status || a.problem(t).Code != code || f.engine.reached() != before {
				t.Errorf("%s %s: %s: %s: %s", r.Method, path, what, a.Status, a.body)
			}
			got := f.engine.lastRefusal(t)
			if got.action != r.Action || got.code != a.problem(t).Code && status != http.StatusUnsupportedMediaType {
				t.Errorf("%s %s: %s: recorded %+v", r.Method, path, what, got)
			}
			if want := strings.Contains(r.Path, ":"); want != (got.resource != "") {
				t.Errorf("%s %s: %s: the record names %q", r.Method, path, what, got.resource)
			}
		}
		body := ""
		if r.BodyBytes > 0 {
			body = "{}"
		}
		// An identity provider may add to the query what it likes.
		if r.Path != api.CallbackPath+":provider" {
			check("a query", 400, "malformed-request", body, func(q *http.Request) { q.URL.RawQuery = "a=b" })
		}
		if !r.Anonymous {
			check("no token", 401, "unauthenticated", body, func(q *http.Request) { q.Header.Del("Authorization") })
		}
		if r.BodyBytes == 0 {
			check("a body", 400, "malformed-request", "{}")
			continue
		}
		for _, mediaType := range []string{"text/plain", "application/xml", "application/json; charset=latin1", "multipart/form-data"} {
			check(mediaType, 415, "unsupported-media-type", "{}", func(q *http.Request) { q.Header.Set("Content-Type", mediaType) })
		}
		check("compressed", 415, "unsupported-media-type", "{}", func(q *http.Request) { q.Header.Set("Content-Encoding", "gzip") })
		most := map[int64]int{16 << 20: 300 << 10, 1 << 20: 200 << 10, 64 << 10: 100 << 10}[r.BodyBytes]
		limits[r.BodyBytes] = true
		check("too long", 413, "too-large", strings.Repeat(" ", most+1))
		check("just as long", 400, "malformed-request", strings.Repeat(" ", most))
	}
	if len(limits) != 3 {
		t.Errorf("the routes have the limits %v", limits)
	}
}
