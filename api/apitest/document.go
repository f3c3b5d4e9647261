// Package apitest checks live requests and answers against the API's own document, for the tests of every package that
// talks to a real server.
//
// Document knows the operations. Transport wraps a client's transport, so that whatever a test asks for is checked without
// the test saying so.
package apitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"cryptoserve/api"
)

// base is the address under which the document is known to the schema compiler. Nothing is fetched from it.
const base = "urn:cryptoserve:openapi"

// Operation is one operation of the document.
type Operation struct {
	ID     string
	Method string
	Path   string // as in the document: /api/v1/contexts/{context}/rotate
	Roles  []string
	States []string
	// Anonymous operations need no credential.
	Anonymous bool
	HasBody   bool
	Statuses  []int // of the answers, in order
}

// Document is the API's OpenAPI document. Goroutines must not share it: schemas are compiled when they are first used.
type Document struct {
	root       map[string]any
	operations []Operation
	compiler   *jsonschema.Compiler
}

// Load reads the document that the server serves.
func Load() (*Document, error) {
	var tree any
	if err := yaml.UnmarshalWithOptions(api.OpenAPI(), &tree, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	tree, err = jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	root, ok := tree.(map[string]any)
	if !ok {
		return nil, errors.New("read openapi.yaml: it is not an object")
	}
	d := &Document{root: root, compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	d.compiler.AssertContent()
	if err := d.compiler.AddResource(base, root); err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	d.collect()
	return d, nil
}

// Operations returns the operations in order of path and method.
func (d *Document) Operations() []Operation { return slices.Clone(d.operations) }

// SchemaNames returns the names of the schemas in the document's components, in order.
func (d *Document) SchemaNames() []string {
	return slices.Sorted(maps.Keys(object(object(d.root["components"])["schemas"])))
}

// Schema returns a schema of the document's components.
func (d *Document) Schema(name string) (*jsonschema.Schema, error) {
	return d.schema("components", "schemas", name)
}

func (d *Document) collect() {
	for path, item := range object(d.root["paths"]) {
		for method, node := range object(item) {
			op := object(node)
			security, overridden := op["security"].([]any)
			d.operations = append(d.operations, Operation{
				ID: text(op["operationId"]), Method: strings.ToUpper(method), Path: path,
				Roles: texts(op["x-roles"]), States: texts(op["x-states"]),
				Anonymous: overridden && len(security) == 0,
				HasBody:   op["requestBody"] != nil,
				Statuses:  statuses(op),
			})
		}
	}
	slices.SortFunc(d.operations, func(a, b Operation) int {
		return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method)
	})
}

func statuses(operation map[string]any) []int {
	var list []int
	for name := range object(operation["responses"]) {
		status, err := strconv.Atoi(name)
		if err != nil {
			panic("openapi.yaml has a response that is not for one status: " + name)
		}
		list = append(list, status)
	}
	slices.Sort(list)
	return list
}

// Find returns the operation that a request is for.
func (d *Document) Find(method, path string) (*Operation, bool) {
	for i, op := range d.operations {
		if op.Method == method && matches(op.Path, path) {
			return &d.operations[i], true
		}
	}
	return nil, false
}

func matches(template, path string) bool {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	return slices.EqualFunc(want, got, func(w, g string) bool {
		return w == g || (strings.HasPrefix(w, "{") && g != "")
	})
}

// RequestSchema returns the schema of the JSON body of a request.
func (d *Document) RequestSchema(method, path string) (*jsonschema.Schema, error) {
	op, ok := d.Find(method, path)
	if !ok {
		return nil, fmt.Errorf("%s %s is not in the document", method, path)
	}
	return d.schema("paths", op.Path, strings.ToLower(op.Method), "requestBody", "content", "application/json", "schema")
}

// BodyMayBeAbsent reports whether a request needs no body.
func (d *Document) BodyMayBeAbsent(method, path string) bool {
	op, ok := d.Find(method, path)
	if !ok {
		return false
	}
	_, body, err := d.resolve([]string{"paths", op.Path, strings.ToLower(op.Method), "requestBody"})
	return err != nil || body["required"] != true
}

// CheckRequest reports what the document says against a request body.
func (d *Document) CheckRequest(method, path string, body []byte) error {
	s, err := d.RequestSchema(method, path)
	if err != nil {
		return err
	}
	return validate(s, body)
}

// CheckAnswer reports what the document says against an answer: its status, its headers with its trailer, its media type and
// its body. A request that the document has no operation for must be answered with a problem.
func (d *Document) CheckAnswer(method, path string, status int, h http.Header, body []byte) error {
	place := []string{"components", "responses", "NotFound"}
	if op, ok := d.Find(method, path); ok {
		place = []string{"paths", op.Path, strings.ToLower(op.Method), "responses", strconv.Itoa(status)}
	} else if status != http.StatusNotFound && status != http.StatusMethodNotAllowed && status != http.StatusServiceUnavailable {
		return fmt.Errorf("%s %s is not in the document and was answered with %d", method, path, status)
	}
	if err := d.checkResponse(place, h, body); err != nil {
		return fmt.Errorf("%s %s, status %d: %w", method, path, status, err)
	}
	if isProblem(h) {
		var p struct{ Status int }
		if err := json.Unmarshal(body, &p); err != nil || p.Status != status {
			return fmt.Errorf("%s %s: the problem says status %d, the answer %d", method, path, p.Status, status)
		}
	}
	return nil
}

func isProblem(h http.Header) bool { return h.Get("Content-Type") == "application/problem+json" }

func (d *Document) checkResponse(place []string, h http.Header, body []byte) error {
	place, response, err := d.resolve(place)
	if err != nil {
		return err
	}
	for name := range object(response["headers"]) {
		header := append(slices.Clone(place), "headers", name)
		if err := d.checkHeader(header, h.Values(name)); err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
	}
	mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("Content-Type: %w", err)
	}
	media, ok := object(response["content"])[mediaType]
	if !ok {
		return fmt.Errorf("media type %s is not in the document", mediaType)
	}
	if object(media)["schema"] == nil {
		return nil
	}
	s, err := d.schema(append(place, "content", mediaType, "schema")...)
	if err != nil {
		return err
	}
	return validate(s, body)
}

func (d *Document) checkHeader(place []string, values []string) error {
	place, header, err := d.resolve(place)
	if err != nil {
		return err
	}
	if len(values) == 0 && header["required"] != true {
		return nil
	}
	s, err := d.schema(append(place, "schema")...)
	if err != nil {
		return err
	}
	if text(object(header["schema"])["type"]) == "array" { // a line for each element
		list := make([]any, len(values))
		for i, v := range values {
			list[i] = v
		}
		return s.Validate(list)
	}
	if len(values) != 1 {
		return fmt.Errorf("%d values, want one", len(values))
	}
	return s.Validate(values[0])
}

// resolve finds the object at a place, following $ref, and tells where it really is.
func (d *Document) resolve(place []string) ([]string, map[string]any, error) {
	node := any(d.root)
	for i, name := range place {
		next, ok := object(node)[name]
		if !ok {
			return nil, nil, fmt.Errorf("the document has no %s", strings.Join(place[:i+1], " "))
		}
		node = next
	}
	if ref := text(object(node)["$ref"]); ref != "" {
		return d.resolve(strings.Split(strings.TrimPrefix(ref, "#/"), "/"))
	}
	return place, object(node), nil
}

// schema compiles the schema at a place of the document.
func (d *Document) schema(place ...string) (*jsonschema.Schema, error) {
	pointer := ""
	for _, name := range place {
		pointer += "/" + url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
	}
	return d.compiler.Compile(base + "#" + pointer)
}

func validate(s *jsonschema.Schema, body []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w", err)
	}
	return s.Validate(v)
}

func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func texts(v any) []string {
	list, _ := v.([]any)
	out := make([]string, 0, len(list))
	for _, e := range list {
		out = append(out, text(e))
	}
	return out
}
