import classNames from "classnames";
import * as React from "react";
import { Helmet } from "react-helmet";
import { isObservable, type Observable } from "rxjs";
import { type Toolbar, TopBar } from "../top-bar/top-bar";
import "./page.scss";

interface PageProps {
  title: string;
  topBarTitle?: string;
  useTitleOnly?: boolean;
  toolbar?: Toolbar | Observable<Toolbar>;
  children?: React.ReactNode;
}

export interface PageContextProps {
  title: string;
}

export const PageContext = React.createContext<PageContextProps>({ title: "Argo" });

/** The toolbar as it is now, where it comes as a stream. */
function useToolbar(toolbar: PageProps["toolbar"]): Toolbar | undefined {
  const [latest, setLatest] = React.useState<Toolbar | undefined>(undefined);
  React.useEffect(() => {
    if (!isObservable(toolbar)) return undefined;
    const subscription = toolbar.subscribe(setLatest);
    return () => subscription.unsubscribe();
  }, [toolbar]);
  return isObservable(toolbar) ? latest : toolbar;
}

/** A page: its title in the browser and at its top, what can be done on it, and its content. */
export function Page({ title, topBarTitle, useTitleOnly, toolbar: given, children }: PageProps) {
  const { title: product } = React.useContext(PageContext);
  const toolbar = useToolbar(given);
  const crumbs = (toolbar?.breadcrumbs ?? []).map((crumb) => crumb.title).reverse();
  const own = useTitleOnly || crumbs.length === 0 ? title : crumbs.join(" / ");
  const hasTools = Boolean(toolbar?.tools || toolbar?.filter || (toolbar?.actionMenu?.items.length ?? 0) > 0);
  return (
    <div className={classNames("page", { "page--has-toolbar": hasTools })}>
      <Helmet>
        <title>{[own, product].filter(Boolean).join(" - ")}</title>
      </Helmet>
      <div className="page__top-bar">
        <TopBar title={topBarTitle ?? title} toolbar={toolbar} hasTools={hasTools} />
      </div>
      <div className="page__content-wrapper">{children}</div>
    </div>
  );
}
