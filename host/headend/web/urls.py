"""The addresses of the pages."""

from django.urls import path

from host.headend.web import accounts, counter, door, views

urlpatterns = [
    path("", views.today),
    path("sign-in", door.sign_in),
    path("sign-out", door.sign_out),
    path("language/<str:language>", door.speak),
    path("households", views.households),
    path("households/<str:account>", views.household),
    path("households/<str:account>/use/<str:by>", views.use),
    path("households/<str:account>/days/<str:on>", views.day),
    path("open", accounts.opening),
    path("day", accounts.day),
    path("sell", counter.sell),
    path("receipts/<str:account>/<int:order>", counter.receipt),
    path("void/<str:account>/<int:order>", counter.void),
    path("refund/<str:account>", counter.refund),
    path("static/<str:name>", views.static),
]
handler400 = "host.headend.web.door.bad_request"
handler404 = "host.headend.web.door.not_found"
handler500 = "host.headend.web.door.failed"
