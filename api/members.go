package api

import (
	"encoding/base64"
	"strconv"
)

// members appends the members of a JSON object, for answers that hold secrets: their bytes go straight to where they are
// sent from, and to no buffer of a library. Tests hold each answer equal to what its wire type encodes to.
type members []byte

// object begins an answer whose byte strings have so many bytes together.
func (x *exchange) object(size int) members {
	return append(grow(x.out, base64.StdEncoding.EncodedLen(size)+overhead), '{')
}

// secret appends a byte string and overwrites it.
func (m *members) secret(name string, b []byte) {
	m.binary(name, b)
	clear(b)
}

func (m *members) binary(name string, b []byte) {
	m.name(name)
	*m = append(*m, '"')
	*m = base64.StdEncoding.AppendEncode(*m, b)
	*m = append(*m, '"')
}

func (m *members) text(name, s string) {
	m.name(name)
	*m = appendQuoted(*m, s)
}

func (m *members) warnings(list []string) {
	m.name("warnings")
	*m = appendTexts(*m, list)
}

func (m *members) number(name string, n int) {
	m.name(name)
	*m = strconv.AppendInt(*m, int64(n), 10)
}

func (m *members) name(name string) {
	if last := (*m)[len(*m)-1]; last != '{' {
		*m = append(*m, ',')
	}
	*m = append(*m, '"')
	*m = append(*m, name...)
	*m = append(*m, `":`...)
}

// end returns the whole object.
func (m members) end() []byte { return append(m, '}') }

// appendTexts appends a list of strings.
func appendTexts(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, s)
	}
	return append(b, ']')
}
