package task

import "fmt"

// Skill is something that an agent can do, as the cards of protocols list it.
type Skill struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	Examples    []string `json:"examples,omitempty"`
	InputModes  []string `json:"input_modes,omitempty"` // media types; none: those of the agent
	OutputModes []string `json:"output_modes,omitempty"`
}

// Bounds of what an agent says of itself.
const (
	maxSkills   = 64
	maxTexts    = 32      // tags, examples or modes
	maxSkillOf  = 128     // bytes of an id, a name, a tag or a mode
	maxExamples = 4 << 10 // bytes of an example
)

// validateAbout names the first field by which an agent tells of itself that is out of
// its range.
func (d Definition) validateAbout() error {
	if err := d.AsTool.validate(); err != nil {
		return fmt.Errorf("agent %s: %w", d.Name, err)
	}
	fault := func(field, detail string) error { return fmt.Errorf("agent %s: %s %s", d.Name, field, detail) }
	if f, detail := longTexts("tags", d.Tags, maxSkillOf); f != "" {
		return fault(f, detail)
	}
	if f, detail := longTexts("examples", d.Examples, maxExamples); f != "" {
		return fault(f, detail)
	}
	if len(d.Skills) > maxSkills {
		return fault("skills", fmt.Sprintf("are %d, allowed are %d", len(d.Skills), maxSkills))
	}
	seen := map[string]bool{}
	for i, s := range d.Skills {
		at := fmt.Sprintf("skills[%d].", i)
		switch {
		case s.ID == "" || len(s.ID) > maxSkillOf || seen[s.ID]:
			return fault(at+"id", "must be a text of its own")
		case s.Name == "" || len(s.Name) > maxSkillOf:
			return fault(at+"name", fmt.Sprintf("must have 1 to %d bytes", maxSkillOf))
		}
		seen[s.ID] = true
		for name, texts := range map[string][]string{"tags": s.Tags, "input_modes": s.InputModes, "output_modes": s.OutputModes} {
			if f, detail := longTexts(at+name, texts, maxSkillOf); f != "" {
				return fault(f, detail)
			}
		}
		if f, detail := longTexts(at+"examples", s.Examples, maxExamples); f != "" {
			return fault(f, detail)
		}
	}
	return nil
}

func longTexts(field string, texts []string, most int) (at, detail string) {
	if len(texts) > maxTexts {
		return field, fmt.Sprintf("are %d, allowed are %d", len(texts), maxTexts)
	}
	for i, text := range texts {
		if text == "" || len(text) > most {
			return fmt.Sprintf("%s[%d]", field, i), fmt.Sprintf("must have 1 to %d bytes", most)
		}
	}
	return "", ""
}
