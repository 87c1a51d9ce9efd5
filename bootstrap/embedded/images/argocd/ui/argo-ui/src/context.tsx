import type * as H from "history";
import * as React from "react";
import type { match } from "react-router";
import type { NotificationsApi, PopupApi } from "./components";

/** What class components of the pages find in their context. */
export interface AppContext {
  router: {
    history: H.History;
    route: { location: H.Location; match: match<any> };
  };
  apis: { popup: PopupApi; notifications: NotificationsApi };
  history: H.History;
}

/** The context of class components, by `static contextType`. */
export const AppContextReact = React.createContext<AppContext>(undefined as unknown as AppContext);
