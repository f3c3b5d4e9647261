package signin

import (
	"net/url"
	"path"
	"strings"
)

// MaxRedirectBytes bounds the path to which a person returns after a sign-in.
const MaxRedirectBytes = 512

// localPath returns the target if it is a path on this node and nothing that a browser, a proxy or a handler could read as
// another host; "/" otherwise. Printable ASCII only: what else a path holds must be percent-encoded. The path must be
// clean before and after decoding, so that no "//", "..", backslash or control character hides in it.
func localPath(target string) string {
	const home = "/"
	if len(target) > MaxRedirectBytes || !strings.HasPrefix(target, "/") {
		return home
	}
	for _, c := range []byte(target) {
		if c <= ' ' || c >= 0x7f || c == '\\' {
			return home
		}
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		return home
	}
	for _, p := range []string{u.EscapedPath(), u.Path} {
		if p != home && (path.Clean(p) != strings.TrimSuffix(p, "/") || strings.HasPrefix(p, "//")) {
			return home
		}
	}
	for _, c := range []byte(u.Path) {
		if c < ' ' || c == 0x7f || c == '\\' {
			return home
		}
	}
	return target
}
