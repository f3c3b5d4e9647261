package join

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"

	"cryptoserve/engine/directory"
	"cryptoserve/engine/joincode"
)

// Code is an invitation as the new node needs it: package joincode.
type Code = joincode.Code

// Secret is what proves that somebody was invited. It prints as its length.
type Secret = joincode.Secret

// ParseCode reads an invitation code. Its errors hold nothing of it.
func ParseCode(text string) (Code, error) { return joincode.Parse(text) }

// Request is what a node says that wants to join. Sign comes last.
type Request struct {
	Secret         Secret
	Node           string // the id that it will have
	Name           string
	Address        string // of its cluster port, host:port
	API            string // of its API, host:port; may be empty
	Method         directory.JoinMethod
	NodeKey        []byte // SubjectPublicKeyInfo, DER
	JoinKey        []byte // the same; for the method wrap only, and OAEP the hash of it
	OAEP           string
	Check          directory.KeyCheckValues // of the keys that the token has already; not for the method wrap
	CommandVersion uint32
	Program        string
	Signature      []byte // ECDSA, ASN.1 DER
}

// join returns what the node says in the form that the cluster keeps it in.
func (r *Request) join() directory.Join {
	return directory.Join{
		Hash: r.Secret.Hash(), Node: r.Node, Name: r.Name, Address: r.Address, API: r.API, Method: r.Method, NodeKey: r.NodeKey,
		JoinKey: r.JoinKey, OAEP: r.OAEP, Check: r.Check, CommandVersion: r.CommandVersion, Program: r.Program,
	}
}

// Sign signs the request with the node key.
func (r *Request) Sign(node crypto.Signer) error {
	j := r.join()
	digest := j.RequestDigest()
	var err error
	r.Signature, err = node.Sign(rand.Reader, digest[:], crypto.SHA256)
	return err
}

// Accepted is a request that waits for an operator.
type Accepted struct {
	ID string
	// Fingerprint is what the operator compares, as the cluster computes it: the node must show its own.
	Fingerprint string
}

// Status is what became of a request.
type Status struct {
	State directory.JoinState
	// Approved is there in the states approved and done.
	Approved *Approved
}

// Approved is what a node needs to become a member.
type Approved struct {
	ClusterID     string
	CACertificate []byte // DER
	CAKey         []byte // wrapped under cs-wrap-private
	// Transfer has the keys, wrapped for the node's join key: for the method wrap, until the node is a member.
	Transfer *directory.KeyTransfer
	// Check tells which keys the node's token must have.
	Check   directory.KeyCheckValues
	Members []Member
	// CommandVersion is the newest version of commands that the cluster writes.
	CommandVersion uint32
}

// Member is a node of the cluster.
type Member struct {
	ID      string
	Address string   // of its cluster port, host:port
	Key     [32]byte // SHA-256 of the SubjectPublicKeyInfo of its node key
}

// The bodies as they travel.

type checkValues struct {
	Master      []byte `json:"master"`
	WrapPrivate []byte `json:"wrap_private"`
	WrapSecret  []byte `json:"wrap_secret"`
}

func checkOf(k *directory.KeyCheckValues) checkValues {
	return checkValues{Master: k.Master, WrapPrivate: k.WrapPrivate, WrapSecret: k.WrapSecret}
}

func (c *checkValues) values() directory.KeyCheckValues {
	return directory.KeyCheckValues{Master: c.Master, WrapPrivate: c.WrapPrivate, WrapSecret: c.WrapSecret}
}

type requestBody struct {
	Secret         []byte      `json:"secret"`
	Node           string      `json:"node"`
	Name           string      `json:"name"`
	Address        string      `json:"address"`
	API            string      `json:"api"`
	Method         string      `json:"method"`
	NodeKey        []byte      `json:"node_key"`
	JoinKey        []byte      `json:"join_key"`
	OAEP           string      `json:"oaep_hash"`
	Check          checkValues `json:"check"`
	CommandVersion uint32      `json:"command_version"`
	Program        string      `json:"program"`
	Signature      []byte      `json:"signature"`
}

type acceptedBody struct {
	ID          string `json:"id"`
	Fingerprint string `json:"fingerprint"`
}

type statusRequest struct {
	ID     string `json:"id"`
	Secret []byte `json:"secret"`
}

type statusBody struct {
	State    string        `json:"state"`
	Approved *approvedBody `json:"approved,omitempty"`
}

type approvedBody struct {
	ClusterID      string        `json:"cluster_id"`
	CACertificate  []byte        `json:"ca_certificate"`
	CAKey          []byte        `json:"ca_key"`
	Transfer       *transferBody `json:"transfer,omitempty"`
	Check          checkValues   `json:"check"`
	Members        []memberBody  `json:"members"`
	CommandVersion uint32        `json:"command_version"`
}

type transferBody struct {
	Master      []byte      `json:"master"`
	WrapPrivate []byte      `json:"wrap_private"`
	WrapSecret  []byte      `json:"wrap_secret"`
	Check       checkValues `json:"check"`
	OAEP        string      `json:"oaep_hash"` // that the cluster's token wrapped with
}

type memberBody struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Key     []byte `json:"key"`
}

type completeRequest struct {
	ID        string      `json:"id"`
	Secret    []byte      `json:"secret"`
	Check     checkValues `json:"check"`
	Signature []byte      `json:"signature"`
}

// hashOf returns the hash of a secret as it came; of one that can be none, a hash that no code has.
func hashOf(secret []byte) [32]byte {
	if len(secret) != len(Secret{}) {
		return [32]byte{}
	}
	return sha256.Sum256(secret)
}
