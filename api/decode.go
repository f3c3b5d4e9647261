package api

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"cryptoserve/engine"
	"cryptoserve/engine/fault"
)

// fieldKind is the type of a field in a request body.
type fieldKind uint8

const (
	text   fieldKind = iota + 1 // a JSON string
	hidden                      // a JSON string that may be a secret: it is kept as bytes, which are overwritten
	binary                      // a JSON string in standard base64 with padding (RFC 4648 section 4)
	items                       // a list of the items of a batch (batch.go)
)

// field is one member that a request body may have. None may be null.
type field struct {
	name     string
	kind     fieldKind
	required bool
	max      int     // longest text in bytes; byte strings are bounded by the body
	item     []field // the fields of an item of a batch
}

// maxFields is the most fields that a body has.
const maxFields = 5

// value is what a body gave for a field.
type value struct {
	present bool
	text    string
	bytes   []byte // valid until the exchange ends
}

// decoder reads JSON objects. It refuses what a lenient reader would guess at: unknown and repeated members, other letter
// case, null, trailing data and text that is not UTF-8 (RFC 8725 asks the same of tokens). Byte strings are decoded
// straight from the body, without a copy of their base64 text.
//
// object reads flat bodies and batches, which are most of what comes, without an allocation for each; into (bind.go) reads
// all others into their wire types by the same rules.
type decoder struct {
	json   jsontext.Decoder
	source bytes.Buffer
	values [maxFields]value
	arena  []byte // the decoded byte strings, one after the other
	plain  []byte // a string without its escapes

	batch      []engine.BatchItem
	references [][]byte // of the items of the batch; nil where there is none
}

var base64Strict = base64.StdEncoding.Strict()

// object decodes a body that must hold the fields into d.values. It may change the body. Errors are fault.Malformed and
// name the field, never its value.
func (d *decoder) object(body []byte, fields []field) error {
	if err := d.begin(body); err != nil {
		return err
	}
	d.values = [maxFields]value{}
	if err := d.members(fields, &d.values); err != nil {
		return err
	}
	return d.end()
}

// begin gets ready to read a body, which must hold an object.
func (d *decoder) begin(body []byte) error {
	d.source = *bytes.NewBuffer(body)
	d.json.Reset(&d.source)
	// Decoded byte strings are shorter than their text, so the arena never moves.
	d.arena = grow(d.arena, len(body))[:0]

	if d.json.PeekKind() == '{' {
		return nil
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return malformed("the body is empty")
	}
	return malformed("the body is not a JSON object")
}

// end refuses what follows the object.
func (d *decoder) end() error {
	if _, err := d.json.ReadToken(); !errors.Is(err, io.EOF) {
		return malformed("the body goes on after the JSON object")
	}
	return nil
}

// members reads the object that comes next, which must hold the fields, into the values at their places.
func (d *decoder) members(fields []field, values *[maxFields]value) error {
	if _, err := d.json.ReadToken(); err != nil {
		return syntax(err)
	}
	for d.json.PeekKind() == '"' {
		name, err := d.name()
		if err != nil {
			return err
		}
		i := indexOf(fields, name)
		if i < 0 {
			return malformedField(printable(name), "is not known")
		}
		if err := d.value(&fields[i], &values[i]); err != nil {
			return err
		}
	}
	if _, err := d.json.ReadToken(); err != nil {
		return syntax(err)
	}
	return missing(fields, values)
}

// name reads the name of a member. It is valid until the next read.
func (d *decoder) name() ([]byte, error) {
	quoted, err := d.json.ReadValue()
	if err != nil {
		return nil, syntax(err)
	}
	name, _ := d.unquote(quoted)
	return name, nil
}

func (d *decoder) value(f *field, v *value) (err error) {
	v.present = true
	switch f.kind {
	case binary:
		v.bytes, err = d.bytes(f.name)
	case items:
		return d.items(f)
	default:
		content, _, err := d.string(f.name)
		if err != nil {
			return err
		}
		if len(content) > f.max {
			return tooLong(f.name, f.max)
		}
		if f.kind == text {
			v.text = string(content)
			return nil
		}
		start := len(d.arena)
		d.arena = append(d.arena, content...)
		v.bytes = d.arena[start:len(d.arena):len(d.arena)]
	}
	return err
}

func tooLong(name string, most int) error {
	return malformedField(name, "is longer than "+strconv.Itoa(most)+" bytes")
}

// want makes sure that a value of a kind comes next, which the caller names with its article.
func (d *decoder) want(kind jsontext.Kind, name, called string) error {
	switch d.json.PeekKind() {
	case kind:
		return nil
	case 'n':
		return malformedField(name, "must not be null")
	case 't', 'f', '0', '{', '[', '"':
		return malformedField(name, "must be "+called)
	default: // no value at all
		_, err := d.json.ReadToken()
		return syntax(err)
	}
}

// string reads the string of a member and tells whether it had escapes. The content is valid until the next read.
func (d *decoder) string(name string) (content []byte, escaped bool, err error) {
	if err := d.want('"', name, "a string"); err != nil {
		return nil, false, err
	}
	quoted, err := d.json.ReadValue()
	if err != nil {
		return nil, false, syntax(err)
	}
	content, escaped = d.unquote(quoted)
	return content, escaped, nil
}

// bytes reads the base64 of a member into the arena.
func (d *decoder) bytes(name string) ([]byte, error) {
	content, escaped, err := d.string(name)
	if err != nil {
		return nil, err
	}
	start := len(d.arena)
	end := start + base64.StdEncoding.DecodedLen(len(content))
	// Go's base64 skips line breaks, which are no part of the alphabet. In JSON they are always escaped.
	if escaped && bytes.ContainsAny(content, "\r\n") {
		return nil, malformedField(name, notBase64)
	}
	n, err := base64Strict.Decode(d.arena[start:end], content)
	if err != nil {
		clear(d.arena[start:end]) // what was decoded before the error is as secret as the rest
		return nil, malformedField(name, notBase64)
	}
	d.arena = d.arena[:start+n]
	return d.arena[start : start+n : start+n], nil
}

const notBase64 = "is not standard base64 with padding"

// missing reports every required field that an object does not have.
func missing(fields []field, values *[maxFields]value) error {
	var list []fault.Field
	for i := range fields {
		if fields[i].required && !values[i].present {
			list = append(list, fault.Field{Name: fields[i].name, Detail: required})
		}
	}
	return lacks(list)
}

const required = "is required"

// lacks refuses a body for the fields that it lacks, if it does.
func lacks(list []fault.Field) error {
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
	clear(d.batch)
	clear(d.references)
	d.batch, d.references = d.batch[:0], d.references[:0]
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

// within names the fields of a refusal by their place in the body: those of an object that stands in another.
func within(place string, err error) error {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	for i := range e.Fields {
		e.Fields[i].Name = place + "." + e.Fields[i].Name
	}
	return err
}

func malformedField(name, detail string) error {
	return &fault.Error{
		Kind: fault.Malformed, Op: "api.body", Detail: "a field of the body is not valid",
		Fields: []fault.Field{{Name: name, Detail: detail}},
	}
}
