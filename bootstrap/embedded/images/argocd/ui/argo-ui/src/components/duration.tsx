import * as moment from "moment";
import * as React from "react";

/** Seconds as `HH:mm:ss` with the days in front where there are any. */
export function Duration({ durationS, allowNewLines }: { durationS: number; allowNewLines?: boolean }) {
  const duration = moment.duration(durationS, "seconds");
  const days = Math.floor(duration.asDays());
  const text = `${days > 0 ? `${days}d ` : ""}${moment.utc(duration.asMilliseconds()).format("HH:mm:ss")}`;
  return <span style={{ whiteSpace: allowNewLines ? "normal" : "nowrap" }}>{text}</span>;
}
