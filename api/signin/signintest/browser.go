package signintest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"html"
	"html/template"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"testing"
)

const maxSteps = 10

var page = template.Must(template.New("login").Parse(`<!doctype html><title>Login</title>
<form method="post" action="{{.Action}}">
{{range $name, $value := .Hidden}}<input type="hidden" name="{{$name}}" value="{{$value}}">
{{end}}<input name="username"><input name="password" type="password"><button>Log in</button></form>`))

type form struct {
	Action string
	Hidden map[string]string
}

var (
	actionForm = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	hiddenForm = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// Authorize goes from start, a URL of a provider, through its login page as a browser would, and returns where the
// provider sends the browser in the end: the first address on another host. The client's cookies and trust are used.
func Authorize(tb testing.TB, client *http.Client, start, username, password string) *url.URL {
	tb.Helper()
	browser := *client
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	at, err := url.Parse(start)
	if err != nil {
		tb.Fatal("the provider's address is not a URL")
	}
	host := at.Host
	resp, err := browser.Get(at.String())
	for range maxSteps {
		if err != nil {
			tb.Fatal(err)
		}
		body, readErr := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		_ = resp.Body.Close()
		if readErr != nil {
			tb.Fatal(readErr)
		}
		if next, locErr := resp.Location(); locErr == nil {
			if next.Host != host {
				return next
			}
			resp, err = browser.Get(next.String())
			continue
		}
		action := actionForm.FindSubmatch(body)
		if resp.StatusCode != http.StatusOK || action == nil {
			tb.Fatalf("the provider answers %s: %.300s", resp.Status, body)
		}
		values := url.Values{"username": {username}, "password": {password}}
		for _, field := range hiddenForm.FindAllSubmatch(body, -1) {
			values.Set(html.UnescapeString(string(field[1])), html.UnescapeString(string(field[2])))
		}
		target, parseErr := resp.Request.URL.Parse(html.UnescapeString(string(action[1])))
		if parseErr != nil {
			tb.Fatal(parseErr)
		}
		resp, err = browser.PostForm(target.String(), values)
	}
	tb.Fatal("the provider does not come to an end")
	return nil
}

// show writes a login page.
func show(w http.ResponseWriter, f form) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = page.Execute(w, f)
}

// random returns 256 random bits in base64url.
func random() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// certificate returns the certificate of a test server in PEM.
func certificate(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}
