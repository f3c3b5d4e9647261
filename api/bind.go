package api

import (
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"cryptoserve/api/auth"
	"cryptoserve/engine"
	"cryptoserve/engine/classify"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

// member is a field of a wire type as a body has it.
type member struct {
	name     string
	index    []int // of the field in its struct: reflect.Value.FieldByIndex
	required bool
}

// shapes remembers the members of each wire type: reflect.Type to []member.
var shapes sync.Map

// shapeOf returns the members of a wire type, those of embedded types included. A member is required unless its tag lets it
// be omitted.
func shapeOf(t reflect.Type) []member {
	if known, ok := shapes.Load(t); ok {
		return known.([]member)
	}
	var list []member
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		list = append(list, member{name, f.Index, !strings.HasPrefix(options, "omit")})
	}
	shapes.Store(t, list)
	return list
}

// longest bounds the texts of bodies, in bytes, by the names of their members. All others are names of things, which
// longestName bounds; 0 means that only the body is a bound.
var longest = map[string]int{
	"description":         engine.ApplicationDescriptionMax, // the longest; that of a context may be 256
	"name":                directory.ApplicationNameMax,     // the longest too
	"app_name":            directory.ApplicationNameMax,
	"owner_email":         directory.EmailMax,
	"access_token":        auth.MaxTokenBytes,
	"token":               auth.MaxTokenBytes,
	"client_certificate":  16 << 10,
	"expression":          directory.ExpressionMax,
	"message":             directory.MessageMax,
	"examples":            classify.ExampleMax,
	"key_id":              128,
	"tenant":              128,
	"wrap_info":           256,
	"reason":              directory.ReasonMax,
	"email":               directory.EmailMax,
	"password":            engine.PasswordMax,
	"jws":                 0,
	"public_key":          8 << 10,
	"peer_public_key_pem": 8 << 10,
	"fingerprint":         128,
}

// into decodes a body into a wire type that it points to. It may change the body. Errors are those of object, and fields of
// inner objects are named by their place, such as keys[2].version. Byte strings stay in the arena.
func (d *decoder) into(body []byte, to any) error {
	if err := d.begin(body); err != nil {
		return err
	}
	if err := d.bind(reflect.ValueOf(to).Elem(), "", false); err != nil {
		return err
	}
	return d.end()
}

// bind reads the value of a member. In an optional object no member is required.
func (d *decoder) bind(v reflect.Value, name string, optional bool) error {
	switch v.Kind() {
	case reflect.String:
		return d.bindText(v, name)
	case reflect.Bool:
		return d.bindBool(v, name)
	case reflect.Int, reflect.Uint32, reflect.Uint64:
		return d.bindNumber(v, name)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.bind(v.Elem(), name, true)
	case reflect.Struct:
		return d.bindObject(v, name, optional)
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			return d.bindList(v, name)
		}
		decoded, err := d.bytes(name)
		v.SetBytes(decoded)
		return err
	default:
		panic("api: a wire type has a field of kind " + v.Kind().String())
	}
}

func (d *decoder) bindText(v reflect.Value, name string) error {
	content, _, err := d.string(name)
	if err != nil {
		return err
	}
	list, _, _ := strings.Cut(name, "[") // an item is bounded as its list says
	most, ok := longest[list]
	if !ok {
		most = longestName
	}
	if most != 0 && len(content) > most {
		return tooLong(name, most)
	}
	v.SetString(string(content))
	return nil
}

func (d *decoder) bindBool(v reflect.Value, name string) error {
	kind := d.json.PeekKind()
	if kind != 't' && kind != 'f' {
		return d.want('t', name, "true or false")
	}
	token, err := d.json.ReadToken()
	if err != nil {
		return syntax(err)
	}
	v.SetBool(token.Bool())
	return nil
}

func (d *decoder) bindNumber(v reflect.Value, name string) error {
	if err := d.want('0', name, "an integer"); err != nil {
		return err
	}
	digits, err := d.json.ReadValue()
	if err != nil {
		return syntax(err)
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	switch {
	case err == nil && v.CanUint() && n >= 0 && !v.OverflowUint(uint64(n)):
		v.SetUint(uint64(n))
	case err == nil && v.CanInt() && n >= math.MinInt32 && n <= math.MaxInt32: // no integer of this API is longer
		v.SetInt(n)
	case err == nil || errors.Is(err, strconv.ErrRange):
		return malformedField(name, "is out of range")
	default:
		return malformedField(name, "must be an integer")
	}
	return nil
}

func (d *decoder) bindList(v reflect.Value, name string) error {
	if err := d.want('[', name, "a list"); err != nil {
		return err
	}
	if _, err := d.json.ReadToken(); err != nil {
		return syntax(err)
	}
	v.SetLen(0)
	for kind := d.json.PeekKind(); kind != ']'; kind = d.json.PeekKind() {
		place := name + "[" + strconv.Itoa(v.Len()) + "]"
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		if err := d.bind(v.Index(v.Len()-1), place, false); err != nil {
			return err
		}
	}
	_, err := d.json.ReadToken()
	if err != nil {
		return syntax(err)
	}
	return nil
}

// bindObject reads an object, whose name is empty for the body itself.
func (d *decoder) bindObject(v reflect.Value, name string, optional bool) error {
	if err := d.want('{', name, "an object"); err != nil {
		return err
	}
	err := d.bindMembers(v, optional)
	if err != nil && name != "" {
		return within(name, err)
	}
	return err
}

func (d *decoder) bindMembers(v reflect.Value, optional bool) error {
	if _, err := d.json.ReadToken(); err != nil {
		return syntax(err)
	}
	shape := shapeOf(v.Type())
	var present uint64
	for d.json.PeekKind() == '"' {
		name, err := d.name()
		if err != nil {
			return err
		}
		i := 0
		for i < len(shape) && shape[i].name != string(name) {
			i++
		}
		if i == len(shape) {
			return malformedField(printable(name), "is not known")
		}
		if err := d.bind(v.FieldByIndex(shape[i].index), shape[i].name, false); err != nil {
			return err
		}
		present |= 1 << i
	}
	if _, err := d.json.ReadToken(); err != nil {
		return syntax(err)
	}
	if optional {
		return nil
	}
	var list []fault.Field
	for i := range shape {
		if shape[i].required && present&(1<<i) == 0 {
			list = append(list, fault.Field{Name: shape[i].name, Detail: required})
		}
	}
	return lacks(list)
}
