package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weftnet/weft/internal/flannel/subnetenv"
)

const dockerOptsHelp = `Write options for the Docker daemon, made of the file that weft agent and flanneld
write, as flannel's mk-docker-opts.sh does.

  -f FILE   read the subnet from FILE (` + subnetenv.DefaultPath + `)
  -d FILE   write the options to FILE (` + defaultDockerEnv + `)
  -i        write each option as a variable, such as DOCKER_OPT_MTU
  -c        write all options as one variable; without -i and -c, both are written
  -k KEY    call that variable KEY (` + defaultDockerKey + `)
  -m        leave --ip-masq out

What the variable KEY holds already, and variables whose names begin with
DOCKER_OPT_, are taken over. --ip-masq is the opposite of FLANNEL_IPMASQ: one of
the two has to do it.`

const (
	defaultDockerEnv = "/run/docker_opts.env"
	defaultDockerKey = "DOCKER_OPTS"
)

// dockerOpts are the flags of mk-docker-opts.sh.
type dockerOpts struct {
	from, to, key        string
	individual, combined bool
	noMasq               bool
}

func (a *app) dockerOptsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "docker-opts [-f FILE] [-d FILE] [-i] [-c] [-k KEY] [-m]",
		Short: "Write a node's subnet as options for Docker",
		Long:  dockerOptsHelp,
		// The script's -d is not the one that all other commands know.
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, words []string) error {
			o, err := parseDockerOpts(words)
			if errors.Is(err, pflag.ErrHelp) {
				return cmd.Help()
			}
			if err != nil {
				return err
			}
			return o.run()
		},
	}
}

var shellName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func parseDockerOpts(words []string) (o dockerOpts, err error) {
	flags := pflag.NewFlagSet("docker-opts", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	flags.StringVarP(&o.from, "flannel-env", "f", subnetenv.DefaultPath, "")
	flags.StringVarP(&o.to, "docker-env", "d", defaultDockerEnv, "")
	flags.BoolVarP(&o.individual, "individual", "i", false, "")
	flags.BoolVarP(&o.combined, "combined", "c", false, "")
	flags.StringVarP(&o.key, "key", "k", defaultDockerKey, "")
	flags.BoolVarP(&o.noMasq, "no-ip-masq", "m", false, "")
	switch err := flags.Parse(words); {
	case errors.Is(err, pflag.ErrHelp):
		return o, err
	case err != nil:
		return o, usagef("%v: allowed are -f, -d, -i, -c, -k, -m", err)
	case flags.NArg() > 0:
		return o, usagef("unknown word %q: allowed are -f FILE, -d FILE, -i, -c, -k KEY, -m", flags.Arg(0))
	case !shellName.MatchString(o.key):
		return o, usagef("`-k %s` is refused: it is the name of a variable, of letters, digits and _, as %s", o.key, defaultDockerKey)
	}
	if !o.individual && !o.combined {
		o.individual, o.combined = true, true
	}
	return o, nil
}

func (o dockerOpts) run() error {
	vars, err := o.variables()
	if err != nil {
		return err
	}
	text, err := o.text(vars)
	if err != nil {
		return err
	}
	if err := o.write(text); err != nil {
		return fmt.Errorf("write options for Docker: %w", err)
	}
	return routedElsewhere(vars["FLANNEL_SUBNET"])
}

// variables are those of the environment and, above them, of the file. The
// script goes on without a subnet; dockerd would then give its containers
// addresses that the other nodes know nothing of.
func (o dockerOpts) variables() (map[string]string, error) {
	vars := map[string]string{}
	for _, v := range os.Environ() {
		key, value, _ := strings.Cut(v, "=")
		vars[key] = value
	}
	text, err := os.ReadFile(o.from)
	switch {
	case errors.Is(err, os.ErrNotExist) && vars["FLANNEL_SUBNET"] != "":
		return vars, nil
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist: weft agent writes it when it has a subnet; name another with -f", o.from)
	case err != nil:
		return nil, fmt.Errorf("read the subnet file: %w", err)
	}
	maps.Insert(vars, subnetenv.Assignments(text))
	if vars["FLANNEL_SUBNET"] == "" {
		return nil, fmt.Errorf("%s sets no FLANNEL_SUBNET: it is not what weft agent or flanneld writes", o.from)
	}
	return vars, nil
}

// write replaces the file at once, or fills what is no file, such as
// /dev/stdout.
func (o dockerOpts) write(text []byte) error {
	path, err := filepath.EvalSymlinks(o.to)
	if err != nil {
		path = o.to
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(o.to, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(text)
		return errors.Join(err, f.Close())
	}
	return subnetenv.Replace(path, text)
}

const dockerOptPrefix = "DOCKER_OPT_"

// text is what the script writes, in its order.
func (o dockerOpts) text(vars map[string]string) ([]byte, error) {
	options, err := o.options(vars)
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	all := vars[o.key]
	if all != "" {
		all += " "
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if o.individual {
			fmt.Fprintf(&out, "%s=%s\n", name, shellQuoted(options[name]))
		}
		all += " " + options[name]
	}
	if o.combined {
		fmt.Fprintf(&out, "%s=%s\n", o.key, shellQuoted(all))
	}
	return []byte(out.String()), nil
}

// shellQuoted quotes text for shells and for systemd's EnvironmentFile.
func shellQuoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
