package signin

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"cryptoserve/engine/secret"
)

// FuzzLocalPath looks for a target that leaves the node, by Go's reading of URLs or through http.Redirect.
func FuzzLocalPath(f *testing.F) {
	for _, seed := range []string{
		"/", "/console?next=//x", "//evil", "/\\evil", "/%2f%2fevil", "/%2f",
		"/a/../..//b", "/%5c", "/\r\nx: y", "https://e",
	} {
		f.Add(seed)
	}
	home := &url.URL{Scheme: "https", Host: "node.example", Path: "/callback/corp"}
	f.Fuzz(func(t *testing.T, target string) {
		got := localPath(target)
		if got != "/" && got != target {
			t.Fatalf("%q became %q", target, got)
		}
		if len(got) > MaxRedirectBytes || !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") ||
			strings.ContainsAny(got, "\\\r\n\x00") {
			t.Fatalf("%q is let through", got)
		}
		u, err := home.Parse(got)
		if err != nil || u.Host != home.Host || u.Scheme != home.Scheme || strings.HasPrefix(u.Path, "//") {
			t.Fatalf("%q leads to %v, %v", got, u, err)
		}
		w := httptest.NewRecorder()
		http.Redirect(w, httptest.NewRequest(http.MethodGet, home.String(), http.NoBody), got, http.StatusFound)
		if at := w.Header().Get("Location"); !strings.HasPrefix(at, "/") || strings.HasPrefix(at, "//") {
			t.Fatalf("%q redirects to %q", got, at)
		}
	})
}

// sealedCookie is a sign-in at "corp", sealed once under fuzzCookieKey. It is written out because the fuzzer's processes
// share their inputs: a cookie that one of them sealed afresh is a good one that the others do not know.
const sealedCookie = "h0hhywShmFiWq60TiCKSgZ4nUUXMvweFYIy9yRNa7hLFhfN-AKUc8gWrVOJiSc4_Sy9DWK9HUscYHWo3N7qWUUd9wtG005VO" +
	"bAlLeTPFHeit2yc67hHdJP-DofH9hc_-8gDNDxjWxBwk8GnMpco8Yw"

const fuzzCookieKey = "0123456789abcdef0123456789abcdef"

// FuzzOpenCookie opens what nobody sealed. Only the untouched cookie opens.
func FuzzOpenCookie(f *testing.F) {
	key := secret.Copy([]byte(fuzzCookieKey))
	const good = sealedCookie
	for _, seed := range []string{
		"", "A", good[:43], good[:len(good)-1], good + "A", good + "=",
		good + "\n", strings.Repeat("A", maxCookieBytes),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if _, ok := openCookie(value, key); ok && value != good {
			t.Fatalf("%q was opened", value)
		}
		if p, ok := openCookie(good, key); !ok || p.Provider != "corp" {
			t.Fatal("the good cookie was not opened")
		}
	})
}

// FuzzEmailDomain holds the domain of an address against the text after its last "@".
func FuzzEmailDomain(f *testing.F) {
	for _, seed := range []string{
		"a@b.example", "a@B.Example", "a@b@c.example", `"a@b"@c.example`,
		"a@", "@b.example", "a@b.example.", "a@\u212a.example",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, email string) {
		domain, ok := emailDomain(email)
		if !ok {
			return
		}
		if strings.Count(email, "@") != 1 || !strings.EqualFold(email[strings.LastIndexByte(email, '@')+1:], domain) {
			t.Fatalf("%q has the domain %q", email, domain)
		}
		if strings.ContainsFunc(domain, func(r rune) bool { return r > '~' || 'A' <= r && r <= 'Z' }) || strings.HasSuffix(domain, ".") {
			t.Fatalf("the domain %q is not in its one form", domain)
		}
	})
}
