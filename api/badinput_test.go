package api_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"cryptoserve/api"
	"cryptoserve/engine"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/policy"
)

var (
	farFuture = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	discard   = slog.New(slog.DiscardHandler)
)

// TestBadBodies sends bodies that a lenient reader would take. None may reach the engine, each must be recorded, and no
// answer may quote a value.
func TestBadBodies(t *testing.T) {
	f := newFixture(t)
	const rest = `,"context":"user-pii"}`
	for name, c := range map[string]struct {
		path, body, field, says string
	}{
		"empty":                   {encryptPath, ``, "", "empty"},
		"blank":                   {encryptPath, " \n", "", "empty"},
		"not JSON":                {encryptPath, `s3cret`, "", "not a JSON object"},
		"form":                    {encryptPath, `plaintext=s3cret`, "", "not a JSON object"},
		"array":                   {encryptPath, `[{"plaintext":"czNjcmV0"}]`, "", "not a JSON object"},
		"null":                    {encryptPath, `null`, "", "not a JSON object"},
		"string":                  {encryptPath, `"s3cret"`, "", "not a JSON object"},
		"cut off":                 {encryptPath, `{"plaintext":"czNjcmV0"`, "", "ends in the middle"},
		"cut off in a string":     {encryptPath, `{"plaintext":"czNj`, "", "ends in the middle"},
		"two objects":             {encryptPath, `{"plaintext":"czNjcmV0"` + rest + `{}`, "", "goes on"},
		"comma at the end":        {encryptPath, `{"plaintext":"czNjcmV0",}`, "", "not valid JSON"},
		"comment":                 {encryptPath, `{"plaintext":"czNjcmV0"/**/` + rest, "", "not valid JSON"},
		"single quotes":           {encryptPath, `{'plaintext':'s3cret'}`, "", "not valid JSON"},
		"byte order mark":         {encryptPath, "\ufeff" + `{"plaintext":""` + rest, "", "not a JSON object"},
		"UTF-16":                  {encryptPath, "{\x00\"\x00p\x00", "", "not valid JSON"},
		"invalid UTF-8":           {encryptPath, `{"plaintext":"","context":"` + "\xff" + `"}`, "", "not valid JSON"},
		"lone surrogate":          {encryptPath, `{"plaintext":"","context":"\ud800"}`, "", "not valid JSON"},
		"control character":       {encryptPath, `{"plaintext":"","context":"` + "\x01" + `"}`, "", "not valid JSON"},
		"unknown field":           {encryptPath, `{"plaintext":"czNjcmV0","extra":"s3cret"` + rest, "extra", "not known"},
		"unknown field, long":     {encryptPath, `{"` + strings.Repeat("é", 60) + `":1}`, strings.Repeat("é", 32) + "…", "not known"},
		"unknown field, deep":     {encryptPath, `{"x":` + strings.Repeat("[", 9000) + `}`, "x", "not known"},
		"field in other letters":  {encryptPath, `{"Plaintext":"czNjcmV0"` + rest, "Plaintext", "not known"},
		"field twice":             {encryptPath, `{"plaintext":"czNjcmV0","plaintext":"AAAA"` + rest, "plaintext", "more than once"},
		"field twice, escaped":    {encryptPath, `{"plaintext":"czNjcmV0","plain\u0074ext":"AAAA"` + rest, "plaintext", "more than once"},
		"null field":              {encryptPath, `{"plaintext":null` + rest, "plaintext", "null"},
		"null optional field":     {encryptPath, `{"plaintext":"","associated_data":null` + rest, "associated_data", "null"},
		"number":                  {encryptPath, `{"plaintext":5` + rest, "plaintext", "must be a string"},
		"boolean":                 {encryptPath, `{"plaintext":true` + rest, "plaintext", "must be a string"},
		"array of bytes":          {encryptPath, `{"plaintext":[115,51]` + rest, "plaintext", "must be a string"},
		"object":                  {encryptPath, `{"plaintext":{}` + rest, "plaintext", "must be a string"},
		"deep array":              {encryptPath, `{"plaintext":` + strings.Repeat("[", 60_000) + rest, "plaintext", "must be a string"},
		"bare word":               {encryptPath, `{"plaintext":s3cret` + rest, "", "not valid JSON"},
		"context a number":        {encryptPath, `{"plaintext":"","context":7}`, "context", "must be a string"},
		"no plaintext":            {encryptPath, `{"context":"user-pii"}`, "plaintext", "required"},
		"no context":              {encryptPath, `{"plaintext":""}`, "context", "required"},
		"context too long":        {encryptPath, `{"plaintext":"","context":"` + strings.Repeat("a", 65) + `"}`, "context", "longer than 64"},
		"usage too long":          {encryptPath, `{"plaintext":"","usage":"` + strings.Repeat("a", 65) + `"` + rest, "usage", "longer than 64"},
		"algorithm too long":      {encryptPath, `{"plaintext":"","algorithm":"` + strings.Repeat("a", 65) + `"` + rest, "algorithm", "longer than 64"},
		"base64 without padding":  {encryptPath, `{"plaintext":"czNjcmV"` + rest, "plaintext", "base64"},
		"base64 of URLs":          {encryptPath, `{"plaintext":"_-_-"` + rest, "plaintext", "base64"},
		"base64 with a space":     {encryptPath, `{"plaintext":"czNj cmV0"` + rest, "plaintext", "base64"},
		"base64 with line breaks": {encryptPath, `{"plaintext":"czNj\r\ncmV0"` + rest, "plaintext", "base64"},
		"base64, loose last bits": {encryptPath, `{"plaintext":"czN="` + rest, "plaintext", "base64"},
		"base64 after padding":    {encryptPath, `{"plaintext":"cw==cw=="` + rest, "plaintext", "base64"},
		"base64 one digit":        {encryptPath, `{"plaintext":"c"` + rest, "plaintext", "base64"},
		"base64 of AAD":           {encryptPath, `{"plaintext":"","associated_data":"!"` + rest, "associated_data", "base64"},
		"base64 of a ciphertext":  {decryptPath, `{"ciphertext":"s3cret"` + rest, "ciphertext", "base64"},
		"plaintext to decrypt":    {decryptPath, `{"plaintext":"czNjcmV0"` + rest, "plaintext", "not known"},
		"algorithm to decrypt":    {decryptPath, `{"ciphertext":"AAAA","algorithm":"x"` + rest, "algorithm", "not known"},
		"no refresh token":        {refreshPath, `{}`, "refresh_token", "required"},
		"refresh token too long":  {refreshPath, `{"refresh_token":"` + strings.Repeat("a", 8193) + `"}`, "refresh_token", "longer than 8192"},
		"body of rotate":          {"/api/v1/contexts/user-pii/rotate", `{"x":1}`, "x", "not known"},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.do(t, "POST", c.path, c.body)
			p := a.problem(t)
			if a.StatusCode != http.StatusBadRequest || p.Code != "malformed-request" {
				t.Fatalf("%s: %s", a.Status, a.body)
			}
			if c.field == "" && !strings.Contains(p.Detail, c.says) {
				t.Errorf("the detail is %q, want it to say %q", p.Detail, c.says)
			}
			if c.field != "" && (len(p.Errors) != 1 || p.Errors[0].Field != c.field || !strings.Contains(p.Errors[0].Detail, c.says)) {
				t.Errorf("the errors are %+v, want that %s %s", p.Errors, c.field, c.says)
			}
			for _, value := range []string{"s3cret", b64("s3cret")} {
				if bytes.Contains(a.body, []byte(value)) {
					t.Errorf("the answer quotes a value: %s", a.body)
				}
			}
			if r := f.engine.lastRefusal(t); r.code != "malformed-request" || r.id != p.RequestID {
				t.Errorf("recorded %+v", r)
			}
		})
	}
	if n := f.engine.reached(); n != 0 {
		t.Errorf("%d of them reached the engine", n)
	}
	t.Run("all that lacks is named", func(t *testing.T) {
		p := f.do(t, "POST", encryptPath, `{}`).problem(t)
		if len(p.Errors) != 2 || p.Errors[0].Field != "plaintext" || p.Errors[1].Field != "context" {
			t.Errorf("the errors are %+v", p.Errors)
		}
	})
}

// TestOddButGoodBodies sends what is unusual and right.
func TestOddButGoodBodies(t *testing.T) {
	f := newFixture(t)
	for name, body := range map[string]string{
		"empty plaintext":       `{"plaintext":"","context":"user-pii"}`,
		"other order and space": " {\n\t\"context\" : \"user-pii\" , \"plaintext\" : \"aGVsbG8=\" } \r\n",
		"escaped slash":         `{"plaintext":"\/\/\/\/","context":"user-pii"}`,
		"escaped letters":       `{"pl\u0061intext":"aGVsbG8\u003d","context":"user\u002dpii","associated_data":"\u0041AAA"}`,
		"all fields":            `{"plaintext":"AA==","context":"user-pii","associated_data":"AA==","usage":"at_rest","algorithm":"AES-256-GCM"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if a := f.do(t, "POST", encryptPath, body); a.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", a.Status, a.body)
			}
		})
	}
}

func TestBadRequests(t *testing.T) {
	f := newFixture(t)
	const good = `{"plaintext":"","context":"user-pii"}`
	header := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	f.engine.before = nil
	for name, c := range map[string]struct {
		method, path, body string
		edit               func(*http.Request)
		status             int
		code               string
		action             policy.Action
		resource           string
	}{
		"unknown route":        {"GET", "/api/v1/nothing", "", nil, 404, "not-found", policy.Request, "GET /api/v1/nothing"},
		"root":                 {"GET", "/", "", nil, 404, "not-found", policy.Request, "GET /"},
		"slash at the end":     {"POST", encryptPath + "/", good, nil, 404, "not-found", policy.Request, "POST " + encryptPath + "/"},
		"other letters":        {"POST", "/API/v1/crypto/encrypt", good, nil, 404, "not-found", policy.Request, "POST /API/v1/crypto/encrypt"},
		"dots":                 {"POST", "/api/v1/contexts/../crypto/encrypt", good, nil, 404, "not-found", policy.Request, ""},
		"double slash":         {"POST", "//api/v1/crypto/encrypt", good, nil, 404, "not-found", policy.Request, ""},
		"GET of a POST":        {"GET", encryptPath, "", nil, 405, "method-not-allowed", policy.Request, "GET " + encryptPath},
		"OPTIONS":              {"OPTIONS", encryptPath, "", nil, 405, "method-not-allowed", policy.Request, ""},
		"odd method":           {"BREW", encryptPath, "", nil, 405, "method-not-allowed", policy.Request, ""},
		"text":                 {"POST", encryptPath, good, header("Content-Type", "text/plain"), 415, "unsupported-media-type", policy.Encrypt, ""},
		"octet stream":         {"POST", "/api/v1/crypto/rewrap", good, header("Content-Type", "application/octet-stream"), 415, "unsupported-media-type", policy.Rewrap, ""},
		"stream with a query":  {"POST", "/api/v1/crypto/rewrap?context=user-pii", good, header("Content-Type", "application/octet-stream"), 400, "malformed-request", policy.Rewrap, ""},
		"other charset":        {"POST", encryptPath, good, header("Content-Type", "application/json; charset=latin1"), 415, "unsupported-media-type", policy.Encrypt, ""},
		"broken media type":    {"POST", encryptPath, good, header("Content-Type", "application/json;;"), 415, "unsupported-media-type", policy.Encrypt, ""},
		"two media types":      {"POST", encryptPath, good, header("Content-Type", "application/json", "text/plain"), 415, "unsupported-media-type", policy.Encrypt, ""},
		"compressed":           {"POST", encryptPath, good, header("Content-Encoding", "gzip"), 415, "unsupported-media-type", policy.Encrypt, ""},
		"query":                {"POST", encryptPath + "?context=general", good, nil, 400, "malformed-request", policy.Encrypt, ""},
		"body where none goes": {"GET", "/api/v1/contexts", good, nil, 400, "malformed-request", policy.ListContexts, ""},
		"no token":             {"POST", encryptPath, good, header("Authorization"), 401, "unauthenticated", policy.Encrypt, ""},
		"empty token":          {"POST", encryptPath, good, header("Authorization", "Bearer "), 401, "unauthenticated", policy.Encrypt, ""},
		"basic":                {"POST", encryptPath, good, header("Authorization", "Basic czNjcmV0OnMzY3JldA=="), 401, "unauthenticated", policy.Encrypt, ""},
		"wrong token":          {"POST", encryptPath, good, header("Authorization", "Bearer a.b.c"), 401, "unauthenticated", policy.Encrypt, ""},
		"two tokens":           {"POST", encryptPath, good, header("Authorization", "Bearer "+f.token, "Bearer "+f.token), 401, "unauthenticated", policy.Encrypt, ""},
		"edited token":         {"POST", encryptPath, good, header("Authorization", "Bearer "+f.token[:len(f.token)-4]+"AAAA"), 401, "unauthenticated", policy.Encrypt, ""},
		"unknown session":      {"POST", encryptPath, good, header("Authorization", "Bearer cs_session_"+strings.Repeat("A", 43)), 401, "unauthenticated", policy.Encrypt, ""},
		"no token to rotate":   {"POST", "/api/v1/contexts/user-pii/rotate", "", header("Authorization"), 401, "unauthenticated", policy.RotateContext, "user-pii"},
		"token in a query":     {"POST", encryptPath + "?access_token=" + f.token, good, header("Authorization"), 401, "unauthenticated", policy.Encrypt, ""},
		"wrong refresh token":  {"POST", refreshPath, `{"refresh_token":"a.b.c"}`, nil, 401, "unauthenticated", policy.RefreshToken, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.request(t, c.method, c.path, c.body)
			if c.edit != nil {
				c.edit(r)
			}
			a := send(t, f.client, r)
			p := a.problem(t)
			if a.StatusCode != c.status || p.Code != c.code {
				t.Fatalf("%s: %s", a.Status, a.body)
			}
			got := f.engine.lastRefusal(t)
			if got.action != c.action || (c.resource != "" && got.resource != c.resource) {
				t.Errorf("recorded %+v", got)
			}
			switch c.status {
			case http.StatusUnauthorized:
				if got.subject != "" || a.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("subject %q, WWW-Authenticate %q", got.subject, a.Header.Get("WWW-Authenticate"))
				}
			case http.StatusMethodNotAllowed:
				if allow := a.Header.Get("Allow"); allow != "POST" {
					t.Errorf("Allow is %q", allow)
				}
			}
			if bytes.Contains(a.body, []byte(f.token)) || strings.Contains(got.resource, f.token) {
				t.Error("the token is in the answer or in the record")
			}
		})
	}
	if n := f.engine.reached(); n != 0 {
		t.Errorf("%d of them reached the engine", n)
	}
}

// TestUnauthenticatedAnswersAreAlike compares whole bodies: nobody learns how near a guess was.
func TestUnauthenticatedAnswersAreAlike(t *testing.T) {
	f := newFixture(t)
	var first []byte
	for _, value := range []string{"", "Bearer x", "Bearer a.b.c", "Bearer " + f.token + "A", "Bearer cs_session_" + strings.Repeat("A", 43)} {
		a := f.do(t, "GET", "/api/v1/contexts", "", func(r *http.Request) {
			r.Header.Set("Authorization", value)
			r.Header.Set("X-Request-ID", "same")
		})
		if first == nil {
			first = a.body
		}
		if !bytes.Equal(first, a.body) {
			t.Errorf("%s differs from %s", a.body, first)
		}
	}
}

func TestBodyLimit(t *testing.T) {
	f := newFixture(t, func(c *api.Config) { c.Limits.CryptoBodyBytes = 1000 })
	body := func(size int) string {
		frame := `{"plaintext":"","context":"user-pii"}`
		return frame + strings.Repeat(" ", size-len(frame))
	}
	unannounced := func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(r.Body), -1 }
	for _, http2 := range []bool{false, true} {
		client := f.newClient(t, http2)
		for name, edit := range map[string]func(*http.Request){"announced": func(*http.Request) {}, "unannounced": unannounced} {
			if a := send(t, client, f.request(t, "POST", encryptPath, body(1000), edit)); a.StatusCode != http.StatusOK {
				t.Errorf("%s, at the limit: %s", name, a.Status)
			}
			before := f.engine.reached()
			a := send(t, client, f.request(t, "POST", encryptPath, body(1001), edit))
			if a.StatusCode != http.StatusRequestEntityTooLarge || a.problem(t).Code != "too-large" {
				t.Errorf("%s, above the limit: %s", name, a.Status)
			}
			if f.engine.reached() != before || f.engine.lastRefusal(t).code != "too-large" {
				t.Errorf("%s, above the limit: not recorded as refused", name)
			}
		}
	}
	if a := f.do(t, "POST", refreshPath, strings.Repeat(" ", 64<<10+1)); a.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("refresh above 64 KiB: %s", a.Status)
	}
}

func TestHeaderLimit(t *testing.T) {
	f := newFixture(t)
	r := f.request(t, "GET", "/health/live", "")
	r.Header.Set("X-Long", strings.Repeat("a", 64<<10))
	resp, err := f.plainClient(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("64 KiB of headers: %s", resp.Status)
	}
}

// TestOddTargets writes request targets that no client library would (RFC 9112 section 3.2).
func TestOddTargets(t *testing.T) {
	f := newFixture(t)
	for line, status := range map[string]int{
		"OPTIONS * HTTP/1.1":                                         http.StatusMethodNotAllowed,
		"GET https://127.0.0.1 HTTP/1.1":                             http.StatusNotFound,
		"CONNECT 127.0.0.1:443 HTTP/1.1":                             http.StatusNotFound,
		"GET /%00%ff HTTP/1.1":                                       http.StatusNotFound,
		"GET /health/live/%2e%2e/ready HTTP/1.1":                     http.StatusNotFound,
		"POST /api/v1/contexts/a%2fb/rotate HTTP/1.1":                http.StatusNotFound,
		"POST /api/v1/contexts//rotate HTTP/1.1":                     http.StatusUnauthorized,
		"GET https://elsewhere.example/api/v1/nothing HTTP/1.1":      http.StatusNotFound,
		"POST /api/v1/crypto/encrypt?%zz=%zz;a=b HTTP/1.1":           http.StatusUnauthorized,
		"POST https://elsewhere.example" + encryptPath + " HTTP/1.1": http.StatusUnauthorized,
	} {
		t.Run(line, func(t *testing.T) {
			d := tls.Dialer{Config: &tls.Config{RootCAs: f.roots, MinVersion: tls.VersionTLS13}}
			conn, err := d.DialContext(t.Context(), "tcp", f.address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, line+"\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != status || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s, %s", resp.Status, resp.Header.Get("Content-Type"))
			}
			f.engine.lastRefusal(t)
		})
	}
	if log := f.log.String(); strings.Contains(log, "panic") {
		t.Error(log)
	}
}

// TestBodyThatStops is a client that announces more than it sends.
func TestBodyThatStops(t *testing.T) {
	f := newFixture(t, func(c *api.Config) { c.Limits.ReadTimeout = 100 * time.Millisecond })
	reader, writer := io.Pipe()
	t.Cleanup(func() { writer.Close() })
	r := f.request(t, "POST", encryptPath, "")
	r.Body, r.ContentLength = reader, 100
	go writer.Write([]byte(`{"plaintext":"`)) //nolint:errcheck // the server hangs up
	a := send(t, f.newClient(t, false), r)
	if a.StatusCode != http.StatusBadRequest || a.problem(t).Code != "malformed-request" {
		t.Errorf("%s: %s", a.Status, a.body)
	}
	if f.engine.lastRefusal(t).code != "malformed-request" {
		t.Error("not recorded")
	}
}

// TestNoAnswerWithoutRecord: when a refusal cannot be recorded, that is what the caller learns (invariant 3).
func TestNoAnswerWithoutRecord(t *testing.T) {
	f := newFixture(t)
	f.engine.auditFailure = fault.New(fault.AuditUnavailable, "stand-in", "the audit log is full")
	for path, method := range map[string]string{"/nothing": "GET", encryptPath: "POST", refreshPath: "POST"} {
		a := f.do(t, method, path, "")
		if a.problem(t).Code != "audit-unavailable" || a.Header.Get("Audit-Receipt") != "" {
			t.Errorf("%s %s: %s", method, path, a.body)
		}
	}
}

// TestWorkThatTakesTooLong gives routes with a bound a use case that only ends with its context.
func TestWorkThatTakesTooLong(t *testing.T) {
	f := newFixture(t, func(c *api.Config) {
		c.Limits.ChangeTimeout = 10 * time.Millisecond
		c.Engine = waiting{c.Engine}
	})
	a := f.do(t, "POST", "/api/v1/contexts/user-pii/rotate", "")
	p := a.problem(t)
	if a.StatusCode != http.StatusServiceUnavailable || p.Code != "unavailable" || !p.Retryable {
		t.Errorf("%s: %s", a.Status, a.body)
	}
}

type waiting struct{ api.Engine }

func (waiting) RotateContext(ctx context.Context, _ *engine.Call, _ string) (engine.RotateResult, error) {
	<-ctx.Done()
	return engine.RotateResult{}, ctx.Err()
}
