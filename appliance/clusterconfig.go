package appliance

import (
	"fmt"
	"net"
)

// ClusterConfig is how a node works with the other nodes of its cluster.
type ClusterConfig struct {
	// Listen is the address of the cluster port, host:port; conventionally port 8444. Empty means that no other node can join.
	Listen string `yaml:"listen"`
	// Advertise is the address that the other nodes dial, host:port; empty means Listen, which must name one host then.
	Advertise string `yaml:"advertise"`
	// Name is what people call the node; empty means the name of the host.
	Name string `yaml:"name"`
}

const maxNodeName = 64

func (c *ClusterConfig) problems() []error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.Listen == "" {
		if c.Advertise != "" {
			bad("cluster.advertise: is set, but cluster.listen is not")
		}
		return problems
	}
	host, _, err := net.SplitHostPort(c.Listen)
	switch {
	case err != nil:
		bad("cluster.listen: %q is not host:port", c.Listen)
	case c.Advertise == "" && unspecified(host):
		bad("cluster.advertise: must say how other nodes reach this one, because cluster.listen names no host")
	}
	if c.Advertise != "" {
		if host, port, err := net.SplitHostPort(c.Advertise); err != nil || unspecified(host) || port == "" || port == "0" {
			bad("cluster.advertise: %q is not host:port", c.Advertise)
		}
	}
	if len(c.Name) > maxNodeName {
		bad("cluster.name: has more than %d characters", maxNodeName)
	}
	return problems
}

func unspecified(host string) bool {
	if host == "" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsUnspecified()
}

// advertised is the address that the other nodes dial; bound is what the port listens on.
func (c *ClusterConfig) advertised(bound string) string {
	if c.Advertise != "" {
		return c.Advertise
	}
	return bound
}
