package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

// eventsCommand follows the events of all tasks.
func eventsCommand() *cobra.Command {
	f := &clientFlags{}
	var filter client.MeshFilter
	cmd := &cobra.Command{
		Use: "events", Short: "Follow the events of all tasks", Args: NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.curl {
				q := url.Values{}
				if len(filter.Types) > 0 {
					q.Set("type", strings.Join(filter.Types, ","))
				}
				if len(filter.Agents) > 0 {
					q.Set("agent", strings.Join(filter.Agents, ","))
				}
				return f.printCurl(cmd.OutOrStdout(), http.MethodGet, "/events?"+q.Encode(), nil)
			}
			c, err := f.client()
			if err != nil {
				return err
			}
			for e, err := range c.MeshEvents(cmd.Context(), filter) {
				if cmd.Context().Err() != nil {
					return nil // Ctrl-C is how it ends
				}
				if err != nil {
					return f.explain("follow events", err)
				}
				if f.output == "json" {
					err = writeRaw(cmd.OutOrStdout(), append(e.Data, '\n'))
				} else {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "%-8s %-18s %s\n", oneLine(e.ID, 0), oneLine(e.Type, 0), oneLine(string(e.Data), 0))
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.bind(cmd)
	p := cmd.Flags()
	p.StringSliceVar(&filter.Types, "type", nil, "types of events, such as task.completed; all when left out")
	p.StringSliceVar(&filter.Agents, "agent", nil, "only events of these agents")
	p.StringVar(&filter.After, "after", "", "go on after this event; 0: from the oldest that is kept")
	return cmd
}
