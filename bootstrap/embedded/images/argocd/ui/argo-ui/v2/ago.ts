import * as moment from "moment";

/** How long a moment is past, such as `5 minutes ago`. */
export const ago = (date: Date | moment.Moment | string): string => moment(date).fromNow();
