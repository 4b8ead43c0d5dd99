//go:build linux

package flannelnode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

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

// Post asks etcd's JSON gateway at url from the node.
func (n *Node) Post(url, path string, body []byte) ([]byte, error) {
	return Post(n.HTTP(), url, path, body)
}

// Post asks etcd's JSON gateway at url, as curl would, for what path names.
func Post(c *http.Client, url, path string, body []byte) ([]byte, error) {
	resp, err := c.Post(url+"/v3/"+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("etcd: %d %s", resp.StatusCode, answer)
	}
	return answer, err
}
