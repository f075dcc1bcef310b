package topology

import "slices"

// BackupOrder are the streams that a backup of a running mesh takes, one after the
// other. Each moment in between shows what a crash could have left, which the mesh
// heals:
//
//   - Queues come before the records that say what became of their messages. A message
//     without need is recognised by its record; a record whose task was never queued is
//     one that was accepted after the backup had begun, and is queued again.
//   - What is written because of another write comes before that one: journals and
//     records before what they refer to, the fan-out's place in the records before the
//     deliveries that it has made, a turn's record before its session.
//   - Large values come last: whatever names one was stored after it.
//
// Who is alive now is left out.
func BackupOrder() (all []string) {
	first := []string{Tasks, Turns, Schedules, Steps, BucketStream(TasksBucket), BucketStream(SchedulesBucket), BucketStream(SessionsBucket), Deliveries, BucketStream(DeliveriesBucket)}
	var rest []string
	for _, s := range Streams(Settings{Replicas: 1}) {
		if !slices.Contains(first, s.Name) && s.Name != BucketStream(WorkersBucket) && s.Name != ArtifactStream {
			rest = append(rest, s.Name)
		}
	}
	return append(append(first, rest...), ArtifactStream)
}

// Where a stream is copied to and from, and where the pieces of a copy are
// acknowledged.
const (
	snapshotAPI  = "STREAM.SNAPSHOT."
	restoreAPI   = "STREAM.RESTORE."
	snapshotAcks = "$JS.SNAPSHOT.ACK.>"
)

// SnapshotOf and RestoreOf are where the server is asked for it.
func SnapshotOf(stream string) string { return apiOf(snapshotAPI + stream) }
func RestoreOf(stream string) string  { return apiOf(restoreAPI + stream) }
