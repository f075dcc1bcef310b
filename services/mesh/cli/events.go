package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"agentmesh/gateway/client"
)

// eventsCommand follows the events of all tasks.
func eventsCommand() *cobra.Command {
	f := &clientFlags{}
	var filter client.MeshFilter
	var labels []string
	cmd := f.bind(&cobra.Command{Use: "events", Short: "Follow the events of all tasks", Args: NoArgs})
	p := cmd.Flags()
	p.StringSliceVar(&filter.Types, "type", nil, "types of events, such as task.completed; all when left out")
	p.StringSliceVar(&filter.Agents, "agent", nil, "only events of these agents")
	p.StringArrayVar(&labels, "label", nil, "only events of tasks with this label, k=v; may be repeated")
	p.StringVar(&filter.After, "after", "", "go on after this event; 0: from the oldest that is kept")
	completeFlag(cmd, "agent", someAgents)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if filter.Labels, err = keyValues(labels); err != nil {
			return err
		}
		var headers []string
		if filter.After != "" {
			headers = []string{"Last-Event-ID: " + filter.After}
		}
		c, err := f.open(cmd, get(with("/events", filter.Query()), headers...)...)
		if c == nil {
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
	}
	return cmd
}
