package api

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strconv"
	"sync/atomic"
)

// requestIDs makes ids that are unique among all processes, without asking the random generator each time: 8 random bytes
// of this process in hex, a hyphen, and a counter.
type requestIDs struct {
	prefix string
	count  *atomic.Uint64
}

func newRequestIDs() requestIDs {
	var b [8]byte
	rand.Read(b[:])
	return requestIDs{prefix: hex.EncodeToString(b[:]) + "-", count: new(atomic.Uint64)}
}

func (r requestIDs) next() string {
	b := make([]byte, 0, 40)
	b = append(b, r.prefix...)
	return string(strconv.AppendUint(b, r.count.Add(1), 10))
}

// longestRequestID is the longest id that a client may give.
const longestRequestID = 64

// requestID returns the id that the client gave, when it is harmless, or a new one.
func (s *Server) requestID(r *http.Request) string {
	if v := r.Header["X-Request-Id"]; len(v) == 1 && validRequestID(v[0]) {
		return v[0]
	}
	return s.ids.next()
}

func validRequestID(id string) bool {
	if id == "" || len(id) > longestRequestID {
		return false
	}
	for i := range len(id) {
		switch b := id[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '.', b == '_', b == '-':
		default:
			return false
		}
	}
	return true
}
