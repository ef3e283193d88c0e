;;; dsr1.el --- dsr1-lsp with Eglot or lsp-mode -*- lexical-binding: t -*-

;; SPDX-License-Identifier: PostgreSQL

;;; Commentary:

;; Suggestions are candidates of completion at point (M-TAB, company, corfu);
;; lsp-mode of Emacs 29.1 and later shows them as ghost text, too.  Code actions
;; are in M-x eglot-code-actions and M-x lsp-execute-code-action.

;;; Code:

(defgroup dsr1 nil "Suggestions of a local model." :group 'tools)

(defcustom dsr1-command '("dsr1-lsp")
  "The language server and its arguments."
  :type '(repeat string))

(defcustom dsr1-modes '(c-mode c++-mode python-mode sql-mode js-mode sh-mode emacs-lisp-mode)
  "Major modes that dsr1-lsp serves."
  :type '(repeat symbol))

(with-eval-after-load 'eglot
  (dolist (mode dsr1-modes)
    (add-to-list 'eglot-server-programs (cons mode dsr1-command))))

(with-eval-after-load 'lsp-mode
  (declare-function lsp-register-client "lsp-mode")
  (declare-function make-lsp-client "lsp-mode")
  (declare-function lsp-stdio-connection "lsp-mode")
  (lsp-register-client
   (make-lsp-client :new-connection (lsp-stdio-connection (lambda () dsr1-command))
                    :major-modes dsr1-modes :add-on? t :server-id 'dsr1)))

(provide 'dsr1)
;;; dsr1.el ends here
