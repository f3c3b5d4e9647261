package api

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"cryptoserve/engine/fault"
)

// fieldKind is the type of a field in a request body.
type fieldKind uint8

const (
	text   fieldKind = iota + 1 // a JSON string
	binary                      // a JSON string in standard base64 with padding (RFC 4648 section 4)
)

// field is one member that a request body may have. None may be null.
type field struct {
	name     string
	kind     fieldKind
	required bool
	max      int // longest text in bytes; byte strings are bounded by the body
}

// maxFields is the most fields that a body has.
const maxFields = 5

// value is what a body gave for a field.
type value struct {
	present bool
	text    string
	bytes   []byte // valid until the exchange ends
}

// decoder reads flat JSON objects. It refuses what a lenient reader would guess at: unknown and repeated members, other
// letter case, null, trailing data and text that is not UTF-8 (RFC 8725 asks the same of tokens). Byte strings are
// decoded straight from the body, without a copy of their base64 text.
type decoder struct {
	json   jsontext.Decoder
	source bytes.Buffer
	values [maxFields]value
	arena  []byte // the decoded byte strings, one after the other
	plain  []byte // a string without its escapes
}

var base64Strict = base64.StdEncoding.Strict()

// object decodes a body that must hold the fields. It may change the body. Errors are fault.Malformed and name the field,
// never its value.
func (d *decoder) object(body []byte, fields []field) error {
	d.values = [maxFields]value{}
	d.source = *bytes.NewBuffer(body)
	d.json.Reset(&d.source)
	// Decoded byte strings are shorter than their text, so the arena never moves.
	d.arena = grow(d.arena, len(body))[:0]

	if d.json.PeekKind() != '{' {
		if len(bytes.TrimSpace(body)) == 0 {
			return malformed("the body is empty")
		}
		return malformed("the body is not a JSON object")
	}
	if _, err := d.json.ReadToken(); err != nil {
		return syntax(err)
	}
	for d.json.PeekKind() == '"' {
		if err := d.member(fields); err != nil {
			return err
		}
	}
	if _, err := d.json.ReadToken(); err != nil {
		return syntax(err)
	}
	if _, err := d.json.ReadToken(); !errors.Is(err, io.EOF) {
		return malformed("the body goes on after the JSON object")
	}
	return d.missing(fields)
}

func (d *decoder) member(fields []field) error {
	quoted, err := d.json.ReadValue()
	if err != nil {
		return syntax(err)
	}
	name, _ := d.unquote(quoted)
	i := indexOf(fields, name)
	if i < 0 {
		return malformedField(printable(name), "is not known")
	}
	f, v := &fields[i], &d.values[i]
	if d.json.PeekKind() != '"' {
		switch d.json.PeekKind() {
		case 'n':
			return malformedField(f.name, "must not be null")
		case 't', 'f', '0', '{', '[':
			return malformedField(f.name, "must be a string")
		default:
			_, err := d.json.ReadToken()
			return syntax(err)
		}
	}
	if quoted, err = d.json.ReadValue(); err != nil {
		return syntax(err)
	}
	content, escaped := d.unquote(quoted)
	v.present = true
	if f.kind == text {
		if len(content) > f.max {
			return malformedField(f.name, "is longer than "+strconv.Itoa(f.max)+" bytes")
		}
		v.text = string(content)
		return nil
	}
	start := len(d.arena)
	end := start + base64.StdEncoding.DecodedLen(len(content))
	// Go's base64 skips line breaks, which are no part of the alphabet. In JSON they are always escaped.
	if escaped && bytes.ContainsAny(content, "\r\n") {
		return malformedField(f.name, notBase64)
	}
	n, err := base64Strict.Decode(d.arena[start:end], content)
	if err != nil {
		clear(d.arena[start:end]) // what was decoded before the error is as secret as the rest
		return malformedField(f.name, notBase64)
	}
	d.arena = d.arena[:start+n]
	v.bytes = d.arena[start : start+n : start+n]
	return nil
}

const notBase64 = "is not standard base64 with padding"

// missing reports every required field that the body does not have.
func (d *decoder) missing(fields []field) error {
	var list []fault.Field
	for i, f := range fields {
		if f.required && !d.values[i].present {
			list = append(list, fault.Field{Name: f.name, Detail: "is required"})
		}
	}
	if list == nil {
		return nil
	}
	return &fault.Error{Kind: fault.Malformed, Op: "api.body", Detail: "the body lacks a field", Fields: list}
}

// unquote returns what a JSON string says, valid until the next call or the next read, and whether it had escapes.
func (d *decoder) unquote(quoted []byte) (content []byte, escaped bool) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], false
	}
	clear(d.plain)
	d.plain = grow(d.plain, len(quoted))
	// The reader has validated the string, so there is no error.
	d.plain, _ = jsontext.AppendUnquote(d.plain[:0], quoted)
	return d.plain, true
}

// wipe overwrites what the decoder holds of the last body.
func (d *decoder) wipe() {
	clear(d.arena)
	clear(d.plain)
	d.values = [maxFields]value{}
	d.source = bytes.Buffer{}
	d.json.Reset(&d.source)
	d.arena, d.plain = poolable(d.arena), poolable(d.plain)
}

func indexOf(fields []field, name []byte) int {
	for i := range fields {
		if fields[i].name == string(name) {
			return i
		}
	}
	return -1
}

// syntax turns an error of the JSON reader into a refusal that quotes nothing of the body but a repeated name.
func syntax(err error) error {
	s, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case ok && errors.Is(s.Err, jsontext.ErrDuplicateName):
		return malformedField(printable([]byte(s.JSONPointer.LastToken())), "appears more than once")
	case ok && errors.Is(s.Err, io.ErrUnexpectedEOF):
		return malformed("the body ends in the middle of the JSON object")
	case ok:
		return malformed("the body is not valid JSON in UTF-8 at byte " + strconv.FormatInt(s.ByteOffset, 10))
	default:
		return malformed("the body is not valid JSON in UTF-8")
	}
}

// printable bounds a name that the caller chose, for an answer to the same caller.
func printable(name []byte) string {
	const most = 64
	if len(name) <= most {
		return string(name)
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(name[cut]) {
		cut--
	}
	return string(name[:cut]) + "…"
}

func malformed(detail string) error { return fault.New(fault.Malformed, "api.body", detail) }

func malformedField(name, detail string) error {
	return &fault.Error{
		Kind: fault.Malformed, Op: "api.body", Detail: "a field of the body is not valid",
		Fields: []fault.Field{{Name: name, Detail: detail}},
	}
}
