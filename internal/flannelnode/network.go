//go:build linux

package flannelnode

import (
	"encoding/json"

	"github.com/weftnet/weft/internal/lab"
)

// Prefix is where a flannel network is kept in etcd.
const Prefix = "/coreos.com/network/"

// Configure writes the network's config, once etcd is there at url.
func (n *Node) Configure(url, config string) error {
	body, err := json.Marshal(map[string][]byte{"key": []byte(Prefix + "config"), "value": []byte(config)})
	if err != nil {
		return err
	}
	return lab.Eventually(soon, func() error {
		_, err := n.Post(url, "kv/put", body)
		return err
	})
}
