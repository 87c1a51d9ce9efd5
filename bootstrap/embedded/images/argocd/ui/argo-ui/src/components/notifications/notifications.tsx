import * as React from "react";
import { ToastContainer, toast } from "react-toastify";
import type { Observable } from "rxjs";

export enum NotificationType {
  Success = 0,
  Warning = 1,
  Error = 2,
}

export interface NotificationInfo {
  type: NotificationType;
  content: React.ReactNode;
}

const show = {
  [NotificationType.Success]: toast.success,
  [NotificationType.Warning]: toast.warn,
  [NotificationType.Error]: toast.error,
};

/** A click takes the text, to be copied. */
function select(event: React.MouseEvent): void {
  const range = document.createRange();
  range.selectNode(event.target as Node);
  window.getSelection()?.removeAllRanges();
  window.getSelection()?.addRange(range);
}

/** What is told in the corner, for ten seconds. */
export function Notifications({ notifications }: { notifications: Observable<NotificationInfo> }) {
  React.useEffect(() => {
    const subscription = notifications.subscribe(({ type, content }) => {
      show[type](<div onClick={select}>{content}</div>, {
        position: "bottom-right",
        closeOnClick: false,
        pauseOnHover: true,
        draggable: false,
        autoClose: 10_000,
      });
    });
    return () => subscription.unsubscribe();
  }, [notifications]);
  return <ToastContainer />;
}
